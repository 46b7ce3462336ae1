"""Owns what is set of a source that is read over REST, and what follows from it. Never speaks to it."""

from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from app.core.address import Allowed, Network, validate_url
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
"""The collections of the gradebook; in 1.2 they have a service, and mostly a base, of their own."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a source is waited for: seconds, and tries of one request.

    Waits double from `first` up to `longest`, each with jitter; `total` bounds the waits and the tries that failed of
    one request together. A `Retry-After` is honoured as long as it fits into `total`. `answer` is how long an answer
    may be silent, `whole` how long it may take to its last byte.
    """

    tries: int = 8
    first: float = 0.5
    longest: float = 60.0
    total: float = 600.0
    answer: float = 120.0
    whole: float = 600.0


@dataclass(frozen=True, slots=True)
class Connection:
    """A source's settings. `url` is the base of rostering, as `https://sis.example.org/ims/oneroster/v1p1`.

    Without `gradebook_url` 1.1 has it under the same base; 1.2 under the one that OneRoster has beside `/rostering/`,
    or under the same base where `url` does not say `/rostering/`. `scopes` are asked for as they are; without any,
    those that the collections need. `leave_out` names collections, as `demographics`, that are not asked for.
    `pull_minutes` is how long a pull may take, `pull_gb` what it may take of the disk. `sandbox` opens loopback over
    plain HTTP.
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

    @property
    def allowed(self) -> Allowed:
        """The networks that may be reached."""
        return Allowed(self.allow_networks, self.sandbox, SETTING)

    @property
    def rostering(self) -> str:
        """The base of rostering, checked, without a slash at its end. Raises `SourceRefused`."""
        return normalize_url(self.url, self.allowed, "url")

    @property
    def gradebook(self) -> str:
        """The base of the gradebook, checked, without a slash at its end. Raises `SourceRefused`."""
        if self.gradebook_url:
            return normalize_url(self.gradebook_url, self.allowed, "gradebook-url")
        if self.version == "1.1":
            return self.rostering
        return self.rostering.replace(ROSTERING, GRADEBOOK)

    @property
    def wanted_scopes(self) -> tuple[str, ...]:
        """The scopes to ask a token for."""
        if self.scopes:
            return self.scopes
        names: tuple[str, ...] = _CORE
        if "demographics" not in self.leave_out:
            names += _DEMOGRAPHICS
        if not self.leave_out >= GRADES:
            names += _GRADEBOOK[self.version]
        return tuple(PURL[self.version] + name for name in names)


def normalize_url(url: str, allowed: Allowed, setting: str) -> str:
    """A URL of the settings in its one spelling, without a slash at its end.

    Raises `SourceRefused` where it may not be reached, or holds a query."""
    try:
        checked = validate_url(url, allowed)
    except Invalid as error:
        said = " ".join(violation.detail for violation in error.violations)
        raise SourceRefused(f"The source's {setting} cannot be used. {said}") from None
    if urlsplit(checked).query:
        raise SourceRefused(f"The source's {setting} must not hold a query (?…).")
    return checked.rstrip("/")
