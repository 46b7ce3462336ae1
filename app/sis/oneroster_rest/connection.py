"""Defines the settings for the connection to a source that is read over REST. Does not connect."""

from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final, Literal
from urllib.parse import urlsplit

from app.core.address import Allowed, Network, validate_url
from app.core.clock import now
from app.core.errors import Invalid
from app.sis.port import SourceRefused

SETTING: Final = "AIMLINE_SIS_ALLOW_NETWORKS"
ROSTERING, GRADEBOOK = "/rostering/", "/gradebook/"
PURL: Final = {
    "1.1": "https://purl.imsglobal.org/spec/or/v1p1/scope/",
    "1.2": "https://purl.imsglobal.org/spec/or/v1p2/scope/",
}
_CORE = ("roster-core.readonly", "roster.readonly")
_DEMOGRAPHICS = ("roster-demographics.readonly",)
_GRADEBOOK: Final[dict[str, tuple[str, ...]]] = {
    "1.1": ("gradebook.readonly",),
    "1.2": ("gradebook-core.readonly", "gradebook.readonly", "assessment.readonly"),
}
GRADES: Final = frozenset(
    {"categories", "lineItems", "results", "scoreScales", "assessmentLineItems", "assessmentResults"}
)
"""The collections of the gradebook. In 1.2 they belong to a separate service, which usually has its own base
address.
"""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait for the response to a request, and how often to repeat the request. Times are in seconds.

    * `tries` is the largest number of times that the request is sent.
    * The waits between tries double from `first` up to `longest`, each with jitter.
    * `total` limits the time that a request may spend on waits and failed tries. A wait that the source states in
      `Retry-After` is observed if it fits into `total`.
    * `answer` limits the time during which no byte of the response arrives, and `whole` the time until the response is
      complete.
    """

    tries: int = 8
    first: float = 0.5
    longest: float = 60.0
    total: float = 600.0
    answer: float = 120.0
    whole: float = 600.0

    def brief(self, tries: int) -> "RetryPolicy":
        """Returns this policy with at most `tries` tries and three minutes, for what a run can do without."""
        return replace(self, tries=min(tries, self.tries), total=min(180.0, self.total))


@dataclass(frozen=True, slots=True)
class Connection:
    """The settings for the connection to a source.

    * `url`: the base address of rostering, such as `https://sis.example.org/ims/oneroster/v1p1`.
    * `gradebook_url`: the base address of the gradebook. If it is None, it is derived from `url`: equal to it in 1.1,
      and with `/gradebook/` in place of `/rostering/` in 1.2.
    * `scopes`: the OAuth scopes to request. If there are none, the scopes that the collections need are requested.
    * `leave_out`: collections that are not requested, such as `demographics`.
    * `pull_minutes`, `pull_gb`: limit the time and the disk space of a pull.
    * `sandbox`: allows loopback addresses over plain HTTP.
    * `today`: the current day in the district. It decides which roles of a user are current.
    """

    version: Literal["1.1", "1.2"]
    url: str
    gradebook_url: str | None
    token_url: str | None
    auth: Literal["oauth1", "oauth2-basic", "oauth2-body"]
    client_id: str
    client_secret: str = field(repr=False)
    scopes: tuple[str, ...] = ()
    signature: Literal["HMAC-SHA256", "HMAC-SHA1"] = "HMAC-SHA256"
    page_size: int = 1000
    concurrency: int = 5
    leave_out: frozenset[str] = frozenset()
    pull_minutes: float = 360
    pull_gb: float = 20
    allow_networks: tuple[Network, ...] = ()
    sandbox: bool = False
    patience: RetryPolicy = RetryPolicy()
    today: date = field(default_factory=lambda: now().date())

    @property
    def allowed(self) -> Allowed:
        """Returns the networks to which connections are allowed."""
        return Allowed(self.allow_networks, self.sandbox, SETTING)

    @property
    def rostering(self) -> str:
        """Returns the base URL of the rostering service without a trailing slash.

        Raises `SourceRefused` if the URL is not allowed.
        """
        return normalize_url(self.url, self.allowed, "url")

    @property
    def gradebook(self) -> str:
        """Returns the base URL of the gradebook service without a trailing slash.

        Raises `SourceRefused` if the URL is not allowed.
        """
        if self.gradebook_url:
            return normalize_url(self.gradebook_url, self.allowed, "gradebook-url")
        if self.version == "1.1":
            return self.rostering
        return self.rostering.replace(ROSTERING, GRADEBOOK)

    @property
    def requested_scopes(self) -> tuple[str, ...]:
        """Returns the OAuth scopes to request for a token.

        These are the configured scopes, or else those that the collections need.
        """
        if self.scopes:
            return self.scopes
        names: tuple[str, ...] = _CORE
        if "demographics" not in self.leave_out:
            names += _DEMOGRAPHICS
        if not self.leave_out >= GRADES:
            names += _GRADEBOOK[self.version]
        return tuple(PURL[self.version] + name for name in names)


def normalize_url(url: str, allowed: Allowed, setting: str) -> str:
    """Returns a URL from the settings in its standard form, without a trailing slash.

    Raises `SourceRefused` if a connection to the URL is not allowed, or if the URL has a query. The error names the
    setting `setting`, from which the URL comes.
    """
    try:
        checked = validate_url(url, allowed)
    except Invalid as error:
        details = " ".join(violation.detail for violation in error.violations)
        raise SourceRefused(f"The source's {setting} cannot be used. {details}") from None
    if urlsplit(checked).query:
        raise SourceRefused(f"The source's {setting} must not have a query (?…).")
    return checked.rstrip("/")
