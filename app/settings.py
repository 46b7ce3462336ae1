"""Owns the settings, read once from the environment. Read by main, worker, cli and migrations only."""

from functools import cached_property
from ipaddress import ip_network
from math import isfinite
from pathlib import Path
from uuid import UUID

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core import ids
from app.core.address import Allowed
from app.core.crypto import KeyFault, Keyring
from app.core.errors import Invalid
from app.core.timeouts import Timeouts


class Settings(BaseSettings):
    """Every setting, `AIMLINE_<NAME>` in the environment."""

    # What begins like a setting and is none, such as AIMLINE_DEBUG, is left alone.
    model_config = SettingsConfigDict(env_prefix="AIMLINE_", frozen=True, extra="ignore")

    database_url: str = Field(default="", description="PostgreSQL as the owner: migrations only.", repr=False)
    api_database_url: str = Field(default="", description="As the role that the api runs under.", repr=False)
    worker_database_url: str = Field(default="", description="As the role that the worker runs under.", repr=False)
    key: str = Field(default="", description="Key-encryption keys, `<id>:<base64>` a line.", repr=False)
    key_file: Path | None = Field(default=None, description="A file that holds them.")
    base_url: str = Field(default="http://127.0.0.1:8000", description="The address that clients use.")
    webhook_allow_networks: str = Field(
        default="", description="Private networks, comma-separated, that webhooks may reach."
    )
    sis_allow_networks: str = Field(
        default="", description="Private networks, comma-separated, that SIS sources may be in."
    )
    allow_networks: str = Field(default="", description="No setting any more; refused, so that nobody relies on it.")
    sandbox: bool = Field(default=False, description="A sandbox: webhooks may go to loopback over plain HTTP.")
    metrics_port: int | None = Field(default=None, ge=0, le=65535, description="Where the worker serves its metrics.")
    metrics_host: str = Field(default="127.0.0.1", description="The address on which it serves them.")
    api_metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="Where the api serves its metrics, on the same address."
    )
    connections: int = Field(default=1000, ge=10, le=100_000, description="Connections of callers a process takes.")
    proxies: str = Field(
        default="127.0.0.1,::1", description="Addresses and networks whose X-Forwarded-* count with --behind-proxy."
    )
    largest_upload_mb: int = Field(default=512, ge=1, le=8192, description="The largest roster zip that can be sent.")
    sync_history_days: int = Field(
        default=365, ge=1, le=36500, description="How long a row that a sync changed is kept as it was, for an undo."
    )
    pool_size: int = Field(default=10, ge=1, le=200)
    graphql_cost: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Rows that one GraphQL operation may return."
    )
    graphql_seconds: float = Field(default=10, gt=0, le=300, description="How long a GraphQL operation may run.")
    workers: int = Field(default=1, ge=1, description="Processes of this api, set by `aimline serve --workers`.")
    concurrency: int = Field(default=4, ge=1, le=100, description="Requests that one process works on at once.")
    district_requests: int = Field(default=60_000, ge=1, description="Requests a minute of one district.")
    client_requests: int = Field(default=30_000, ge=1, description="Requests a minute of one client in a district.")
    district_weights: str = Field(default="", description="Shares other than 1, as `<district id>=<weight>,…`.")
    connect_timeout: float = Field(default=5, gt=0, description="Seconds to wait for a connection to the database.")
    lock_timeout: float = Field(default=5, gt=0, description="Seconds that a statement may wait for a lock.")
    statement_timeout: float = Field(default=30, gt=0, description="Seconds that a statement may take.")
    idle_timeout: float = Field(default=30, gt=0, description="Seconds that an open transaction may do nothing.")
    sync_lock_timeout: float = Field(default=60, gt=0, description="The same for syncs and the worker's other jobs.")
    sync_statement_timeout: float = Field(default=600, gt=0)
    sync_idle_timeout: float = Field(default=120, gt=0)
    token_seconds: int = Field(default=900, ge=60, le=3600, description="How long an access token lives.")

    @property
    def timeouts(self) -> Timeouts:
        """The limits of a request and of a webhook's delivery."""
        return Timeouts(self.lock_timeout, self.statement_timeout, self.idle_timeout, self.connect_timeout)

    @property
    def sync_timeouts(self) -> Timeouts:
        """The limits of syncs, of the worker's other jobs and of an operator's commands."""
        return Timeouts(
            self.sync_lock_timeout, self.sync_statement_timeout, self.sync_idle_timeout, self.connect_timeout
        )

    @cached_property
    def keyring(self) -> Keyring:
        """The keys; raises `KeyFault` in one sentence when there are none."""
        if self.key:
            return Keyring.parse(self.key.replace(",", "\n"))
        if self.key_file is None:
            raise KeyFault("No key: set AIMLINE_KEY_FILE to a key file. Make one with: aimline key new")
        try:
            return Keyring.parse(self.key_file.read_text())
        except OSError as error:
            raise KeyFault(f"The key file cannot be read: {error.strerror}.") from None

    def url_of(self, role: str) -> str:
        """The address for `owner`, `api` or `worker`; the last two follow from the owner's unless they are given."""
        given = {
            "owner": self.database_url,
            "api": self.api_database_url,
            "worker": self.worker_database_url,
        }[role]
        if given:
            _address(given, role)
            return given
        if not self.database_url:
            raise KeyFault("No database: set AIMLINE_DATABASE_URL, or use `python3 dev.py run`.")
        url = _address(self.database_url, "owner").set(username=role, password=self.keyring.password(role))
        return url.render_as_string(hide_password=False)

    def role_name(self, role: str) -> str:
        """The name under which PostgreSQL knows `api` or `worker`."""
        return make_url(self.url_of(role)).username or role

    @property
    def webhook_allowed(self) -> Allowed:
        """What webhooks may reach; raises `KeyFault` for an entry that is no network."""
        return self._allowed("webhook_allow_networks")

    @property
    def sis_allowed(self) -> Allowed:
        """What SIS sources may reach; raises `KeyFault` for an entry that is no network."""
        return self._allowed("sis_allow_networks")

    @cached_property
    def weights(self) -> dict[UUID, float]:
        """Returns the districts' shares that are not 1; raises `KeyFault` in one sentence for an entry that is none."""
        weights = {}
        for entry in filter(None, (part.strip() for part in self.district_weights.split(","))):
            district, _, weight = entry.partition("=")
            try:
                number = float(weight)
                if not (isfinite(number) and number > 0):
                    raise ValueError
                weights[ids.read("district", district.strip())] = number
            except (ValueError, Invalid):
                raise KeyFault(f"AIMLINE_DISTRICT_WEIGHTS: {entry!r} is no share, such as dis_…=2.") from None
        return weights

    def check_networks(self) -> None:
        """Refuses, in a sentence, a list of networks that cannot be read, or one list for two purposes."""
        _ = self.webhook_allowed, self.sis_allowed
        for entry in filter(None, (part.strip() for part in self.proxies.split(","))):
            try:
                ip_network(entry)
            except ValueError:
                raise KeyFault(f"AIMLINE_PROXIES: {entry!r} is no network, such as 10.1.0.0/16.") from None

    def _allowed(self, field: str) -> Allowed:
        if self.allow_networks:
            raise KeyFault(
                "AIMLINE_ALLOW_NETWORKS is no setting any more, because webhooks and SIS sources have a list of their "
                "own: set AIMLINE_WEBHOOK_ALLOW_NETWORKS and AIMLINE_SIS_ALLOW_NETWORKS, each with what it needs."
            )
        try:
            return Allowed.parse(getattr(self, field), f"AIMLINE_{field.upper()}", sandbox=self.sandbox)
        except ValueError as error:
            raise KeyFault(str(error)) from None


def _address(text: str, role: str) -> URL:
    name = "AIMLINE_DATABASE_URL" if role == "owner" else f"AIMLINE_{role.upper()}_DATABASE_URL"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or not url.drivername.startswith("postgres"):
        raise KeyFault(f"{name} is no address of a PostgreSQL, such as postgresql://user@host/database.") from None
    return url
