"""Tests `aimline serve`: its metrics on a separate address, its certificate, and its warnings."""

import datetime
import ipaddress
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fastapi import FastAPI

from app.cli.serve import GRACE, check_address, check_certificate
from app.core.errors import AimlineError
from app.settings import Settings
from tests.faces.graphql_face import token
from tests.faces.rest_town import caller
from tests.faces.served_api import client, served_api
from tests.processes import REPOSITORY, TRUSTS_NOBODY, aimline, environment, free_port
from tests.town import Town

pytestmark = pytest.mark.long


class Served:
    """A running `aimline serve`."""

    def __init__(self, settings: Settings, *arguments: str, **more: str) -> None:
        self.port, self.metrics = free_port(), free_port()
        command = [sys.executable, "-m", "app", "serve", "--port", str(self.port), *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment(settings, AIMLINE_API_METRICS_PORT=str(self.metrics), **more),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def get(self, address: str, verify: ssl.SSLContext = TRUSTS_NOBODY, **headers: str) -> httpx.Response:
        """Repeats a GET request until the server answers, and returns the first response."""
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                return httpx.get(address, headers=headers, timeout=5, trust_env=False, verify=verify)
            time.sleep(0.1)
        raise TimeoutError

    def end(self) -> str:
        """Ends the process and returns its standard error."""
        self.process.terminate()
        try:
            _, log = self.process.communicate(timeout=40)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return log


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_api_serves_metrics_of_all_its_processes(
    settings: Settings, app: FastAPI, north: Town, workers: str
) -> None:
    """The metrics of all processes are served on a separate port.

    They contain no id from a path, and no name of a district or person.
    """
    served = Served(settings, "--workers", workers)
    token = caller(app, north).token
    base = f"http://127.0.0.1:{served.port}"
    try:
        for _ in range(12):
            answer = served.get(f"{base}/v1/students?family_name=Family{north.canary}", Authorization=f"Bearer {token}")
            assert answer.status_code == 200
        assert served.get(f"{base}/v1/students/{north.canary}").status_code == 401
        assert served.get(f"{base}/metrics").status_code == 404
        shown = served.get(f"http://127.0.0.1:{served.metrics}/metrics").text
    finally:
        log = served.end()
    assert 'aimline_http_requests_total{method="GET",route="/v1/students",status="200"} 12.0' in shown
    assert 'aimline_http_request_seconds_count{route="/v1/students"} 12.0' in shown
    assert 'aimline_refusals_total{code="unauthenticated"} 1.0' in shown
    for name in ("aimline_pool_in_use", "aimline_pool_limit", "aimline_http_connections"):
        assert name in shown
    assert 'aimline_district_request_seconds_total{district="' in shown
    assert north.canary not in shown
    assert north.slug not in shown.replace("aimline", "")
    assert log == ""


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, key_file = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(_pem(key, serialization.NoEncryption()))
    return certificate, key_file


def _pem(key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_it_serves_https_and_closes_a_handshake_that_does_not_go_on(settings: Settings, tmp_path: Path) -> None:
    """With a certificate, `aimline serve` gives no warning. A connection without a handshake is closed within 15 s."""
    certificate, key = _self_signed(tmp_path)
    served = Served(settings, "--host", "0.0.0.0", "--certificate", str(certificate), "--key", str(key))  # noqa: S104  # the test needs every address
    try:
        trusted = ssl.create_default_context(cafile=str(certificate))
        assert served.get(f"https://127.0.0.1:{served.port}/health/live", trusted).json() == {"ok": True}
        with socket.create_connection(("127.0.0.1", served.port), timeout=90) as silent:
            began = time.monotonic()
            with suppress(ConnectionError):
                silent.recv(1)
            assert time.monotonic() - began < 45  # twelve seconds on an idle machine; a minute without the limit
    finally:
        log = served.end()
    assert "Warning" not in log


@pytest.mark.parametrize(
    ("arguments", "warns"),
    [
        (("--host", "0.0.0.0"), True),  # noqa: S104  # the test needs every address
        (("--host", "::"), True),
        (("--host", "10.1.2.3"), True),
        (("--host", "api.example"), True),
        (("--host", "0.0.0.0", "--behind-proxy"), False),  # noqa: S104  # the test needs every address
        (("--host", "127.0.0.1"), False),
        (("--host", "::1"), False),
        (("--host", "localhost"), False),
    ],
)
def test_it_warns_of_a_public_address_without_tls(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], warns: bool
) -> None:
    """On a public address without TLS the process logs one warning before it serves."""
    from typer.testing import CliRunner

    from app.cli import command_line, serve

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(serve, "check_server", nothing)
    monkeypatch.setattr(serve, "run", lambda config: None)
    monkeypatch.setattr(serve, "_allow_files", lambda connections: None)
    monkeypatch.setenv("AIMLINE_DATABASE_URL", settings.database_url)
    monkeypatch.setenv("AIMLINE_KEY", settings.key)
    done = CliRunner().invoke(command_line("serve"), ["serve", *arguments])
    assert done.exit_code == 0, done.output
    assert ("Warning" in done.stderr) is warns


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_that_is_in_use_is_refused_in_a_sentence(settings: Settings, workers: str) -> None:
    """If `aimline serve` cannot listen on its address, it says so in one sentence and ends."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = aimline(settings, "serve", "--port", port, "--workers", workers)
    assert done.returncode != 0
    assert done.stderr == f"The api cannot listen on 127.0.0.1, port {port}: Address already in use.\n"


def test_a_host_that_does_not_exist_is_refused_in_a_sentence() -> None:
    """A host without an address, and a text that is no host at all, are refused."""
    for host in ("nowhere.invalid", "h" * 300, "::zz"):
        with pytest.raises(AimlineError, match="The api cannot listen on"):
            check_address(host, 0)
    check_address("127.0.0.1", 0)


def test_a_certificate_that_cannot_be_served_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """An unusable certificate is refused with a sentence before anything starts."""
    certificate, key = _self_signed(tmp_path)
    check_certificate(certificate, key)
    check_certificate(None, None)
    other = ec.generate_private_key(ec.SECP256R1())
    foreign, sealed = tmp_path / "foreign.pem", tmp_path / "sealed.pem"
    foreign.write_bytes(_pem(other, serialization.NoEncryption()))
    sealed.write_bytes(_pem(other, serialization.BestAvailableEncryption(b"of-a-test")))
    for pair in ((tmp_path / "none.pem", key), (certificate, foreign), (certificate, sealed), (None, key)):
        with pytest.raises(AimlineError) as refused:
            check_certificate(*pair)
        assert "\n" not in refused.value.detail


def test_an_open_stream_does_not_delay_the_end(settings: Settings, north: Town, tmp_path: Path) -> None:
    """SIGTERM ends open event streams at once, over REST and GraphQL, without a logged fault."""
    log = tmp_path / "log"
    with served_api(settings, log) as (process, address), ExitStack() as opened:
        headers = {"Authorization": f"Bearer {token(north)}", "Accept": "text/event-stream"}
        document = {"query": "subscription { events { cursor } }"}
        for method, path, body in (("GET", "/v1/events/stream", None), ("POST", "/graphql", document)):
            caller = opened.enter_context(client(address))
            stream = opened.enter_context(caller.stream(method, path, headers=headers, json=body))
            assert stream.status_code == 200
        began = time.monotonic()
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM
        assert time.monotonic() - began < GRACE
    assert "CancelledError" not in log.read_text()
    assert "Traceback" not in log.read_text()
