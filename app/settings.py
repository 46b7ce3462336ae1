"""Owns the settings, read once from the environment. Read by main, worker, cli and migrations only."""

from functools import cached_property
from ipaddress import ip_network
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.crypto import KeyFault, Keyring
from app.core.timeouts import Timeouts


class Settings(BaseSettings):
    """Every setting, `AIMLINE_<NAME>` in the environment."""

    # What begins like a setting and is none, such as AIMLINE_DEBUG, is left alone.
    model_config = SettingsConfigDict(env_prefix="AIMLINE_", frozen=True, extra="ignore")

    database_url: str = Field(default="", description="PostgreSQL as the owner: migrations only.")
    api_database_url: str = Field(default="", description="As the role that the api runs under.")
    worker_database_url: str = Field(default="", description="As the role that the worker runs under.")
    key: str = Field(default="", description="Key-encryption keys, `<id>:<base64>` a line.", repr=False)
    key_file: Path | None = Field(default=None, description="A file that holds them.")
    base_url: str = Field(default="http://127.0.0.1:8000", description="The address that clients use.")
    allow_networks: str = Field(
        default="", description="Networks, comma-separated, that webhooks may reach beside the public ones."
    )
    sandbox: bool = Field(default=False, description="A sandbox: webhooks may go to loopback over plain HTTP.")
    metrics_port: int | None = Field(default=None, ge=0, le=65535, description="Where the worker serves its metrics.")
    metrics_host: str = Field(default="127.0.0.1", description="The address on which it serves them.")
    largest_upload_mb: int = Field(default=512, ge=1, le=8192, description="The largest roster zip that can be sent.")
    pool_size: int = Field(default=10, ge=1, le=200)
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

    def check_networks(self) -> None:
        """Refuses, in a sentence, an entry of `allow_networks` that is no network."""
        for entry in filter(None, (part.strip() for part in self.allow_networks.split(","))):
            try:
                ip_network(entry)
            except ValueError:
                raise KeyFault(f"AIMLINE_ALLOW_NETWORKS: {entry!r} is no network, such as 10.1.0.0/16.") from None


def _address(text: str, role: str) -> URL:
    name = "AIMLINE_DATABASE_URL" if role == "owner" else f"AIMLINE_{role.upper()}_DATABASE_URL"
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        url = None
    if url is None or not url.drivername.startswith("postgres"):
        raise KeyFault(f"{name} is no address of a PostgreSQL, such as postgresql://user@host/database.") from None
    return url
