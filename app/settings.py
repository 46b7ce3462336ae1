"""Defines the settings that a process reads from the environment, once, when it starts."""

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
    """The settings of a process; each is read from the environment variable `AIMLINE_<NAME>`."""

    # Other variables with the prefix, such as AIMLINE_DEBUG, are ignored.
    model_config = SettingsConfigDict(env_prefix="AIMLINE_", frozen=True, extra="ignore")

    database_url: str = Field(default="", description="Database URL of its owner, for migrations only.", repr=False)
    api_database_url: str = Field(default="", description="Database URL of the api's role.", repr=False)
    worker_database_url: str = Field(default="", description="Database URL of the worker's role.", repr=False)
    key: str = Field(default="", description="Key-encryption keys, one `<id>:<base64>` per line.", repr=False)
    key_file: Path | None = Field(default=None, description="A file with the key-encryption keys.")
    base_url: str = Field(default="http://127.0.0.1:8000", description="The address that clients use.")
    webhook_allow_networks: str = Field(
        default="", description="Private networks, comma-separated, that webhooks may reach."
    )
    sis_allow_networks: str = Field(
        default="", description="Private networks, comma-separated, that SIS sources may be in."
    )
    allow_networks: str = Field(default="", description="Removed setting; refused, so that nobody relies on it.")
    sandbox: bool = Field(default=False, description="A sandbox: webhooks may go to loopback over plain HTTP.")
    metrics_port: int | None = Field(default=None, ge=0, le=65535, description="The port of the worker's metrics.")
    metrics_host: str = Field(default="127.0.0.1", description="The address of the metrics' ports.")
    api_metrics_port: int | None = Field(
        default=None, ge=0, le=65535, description="The port of the api's metrics, on the same address."
    )
    connections: int = Field(default=1000, ge=10, le=100_000, description="Client connections that a process accepts.")
    proxies: str = Field(
        default="127.0.0.1,::1", description="Addresses and networks whose X-Forwarded-* count with --behind-proxy."
    )
    largest_upload_mb: int = Field(default=512, ge=1, le=8192, description="The largest roster zip, in MB.")
    smtp_url: str = Field(
        default="", description="The mail server of notices: smtp://[user:password@]host:port or smtps://…", repr=False
    )
    alert_from: str = Field(default="", description="The sender of notices by e-mail.")
    alert_emails: str = Field(
        default="", description="Addresses, comma-separated, for notices of districts that name none."
    )
    alert_chat_url: str = Field(
        default="", description="The chat webhook for notices of districts that name none.", repr=False
    )
    sync_history_days: int = Field(
        default=365,
        ge=1,
        le=36500,
        description="Days for which the values before a change are kept, and for which a sync can be undone.",
    )
    pool_size: int = Field(default=10, ge=1, le=200)
    graphql_cost: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Rows that one GraphQL operation may return."
    )
    graphql_seconds: float = Field(default=10, gt=0, le=300, description="Seconds that a GraphQL operation may run.")
    workers: int = Field(default=1, ge=1, description="Number of api processes, set by `aimline serve --workers`.")
    concurrency: int = Field(default=4, ge=1, le=100, description="Requests that one process handles at once.")
    district_requests: int = Field(default=60_000, ge=1, description="Requests per minute of one district.")
    client_requests: int = Field(default=30_000, ge=1, description="Requests per minute of one client in a district.")
    district_weights: str = Field(default="", description="Weights other than 1, as `<district id>=<weight>,…`.")
    connect_timeout: float = Field(default=5, gt=0, description="Seconds to wait for a connection to the database.")
    lock_timeout: float = Field(default=5, gt=0, description="Seconds that a statement may wait for a lock.")
    statement_timeout: float = Field(default=30, gt=0, description="Seconds that a statement may take.")
    idle_timeout: float = Field(default=30, gt=0, description="Seconds that an open transaction may be idle.")
    sync_lock_timeout: float = Field(default=60, gt=0, description="Lock timeout of syncs and the worker's other jobs.")
    sync_statement_timeout: float = Field(default=600, gt=0)
    sync_idle_timeout: float = Field(default=120, gt=0)
    token_seconds: int = Field(default=900, ge=60, le=3600, description="Seconds for which an access token is valid.")

    @property
    def timeouts(self) -> Timeouts:
        """Returns the database timeouts of requests and webhook deliveries."""
        return Timeouts(self.lock_timeout, self.statement_timeout, self.idle_timeout, self.connect_timeout)

    @property
    def sync_timeouts(self) -> Timeouts:
        """Returns the database timeouts of syncs, of the worker's other jobs and of an operator's commands."""
        return Timeouts(
            self.sync_lock_timeout, self.sync_statement_timeout, self.sync_idle_timeout, self.connect_timeout
        )

    @cached_property
    def keyring(self) -> Keyring:
        """Returns the encryption keys; raises `KeyFault` if none are configured."""
        if self.key:
            return Keyring.parse(self.key.replace(",", "\n"))
        if self.key_file is None:
            raise KeyFault("No key: set AIMLINE_KEY_FILE to a key file. Create one with: aimline key new")
        try:
            return Keyring.parse(self.key_file.read_text())
        except OSError as error:
            raise KeyFault(f"The key file cannot be read: {error.strerror}.") from None

    def url_of(self, role: str) -> str:
        """Returns the database URL of the role `owner`, `api` or `worker`.

        If no URL is set for `api` or `worker`, it is the owner's URL with another user and a password derived from the
        key.
        """
        configured_url = {
            "owner": self.database_url,
            "api": self.api_database_url,
            "worker": self.worker_database_url,
        }[role]
        if configured_url:
            _address(configured_url, role)
            return configured_url
        if not self.database_url:
            raise KeyFault("No database: set AIMLINE_DATABASE_URL, or use `python3 dev.py run`.")
        url = _address(self.database_url, "owner").set(username=role, password=self.keyring.password(role))
        return url.render_as_string(hide_password=False)

    def role_name(self, role: str) -> str:
        """Returns the name that the role `api` or `worker` has in PostgreSQL."""
        return make_url(self.url_of(role)).username or role

    @property
    def webhook_allowed(self) -> Allowed:
        """Returns the networks that webhooks may reach; raises `KeyFault` for an invalid entry."""
        return self._allowed("webhook_allow_networks")

    @property
    def sis_allowed(self) -> Allowed:
        """Returns the networks that SIS sources may be in; raises `KeyFault` for an invalid entry."""
        return self._allowed("sis_allow_networks")

    @cached_property
    def weights(self) -> dict[UUID, float]:
        """Returns the configured weights of districts, which set their shares of a busy process.

        A district that is not in the result has the weight 1. Raises `KeyFault` for an invalid weight.
        """
        weights = {}
        for entry in filter(None, (part.strip() for part in self.district_weights.split(","))):
            district, _, weight = entry.partition("=")
            try:
                number = float(weight)
                if not (isfinite(number) and number > 0):
                    raise ValueError
                weights[ids.parse_id("district", district.strip())] = number
            except (ValueError, Invalid):
                raise KeyFault(f"AIMLINE_DISTRICT_WEIGHTS: {entry!r} is not a weight such as dis_…=2.") from None
        return weights

    def check_networks(self) -> None:
        """Raises `KeyFault` if the list of networks for webhooks, for SIS sources or for proxies is invalid."""
        _ = self.webhook_allowed, self.sis_allowed
        for entry in filter(None, (part.strip() for part in self.proxies.split(","))):
            try:
                ip_network(entry)
            except ValueError:
                raise KeyFault(f"AIMLINE_PROXIES: {entry!r} is not a network such as 10.1.0.0/16.") from None

    def _allowed(self, field: str) -> Allowed:
        if self.allow_networks:
            raise KeyFault(
                "AIMLINE_ALLOW_NETWORKS was removed, because webhooks and SIS sources have separate lists: "
                "set AIMLINE_WEBHOOK_ALLOW_NETWORKS and AIMLINE_SIS_ALLOW_NETWORKS, each with what it needs."
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
        raise KeyFault(f"{name} is not a PostgreSQL URL such as postgresql://user@host/database.") from None
    return url
