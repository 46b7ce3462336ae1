"""Owns the settings, read once from the environment. Read by main, worker, cli and migrations only."""

from functools import cached_property
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from app.core.address import Allowed
from app.core.crypto import KeyFault, Keyring


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
    largest_upload_mb: int = Field(default=512, ge=1, le=8192, description="The largest roster zip that can be sent.")
    pool_size: int = Field(default=10, ge=1, le=200)
    token_seconds: int = Field(default=900, ge=60, le=3600, description="How long an access token lives.")

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

    def check_networks(self) -> None:
        """Refuses, in a sentence, a list of networks that cannot be read, or one list for two purposes."""
        _ = self.webhook_allowed, self.sis_allowed

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
