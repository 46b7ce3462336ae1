"""Runs the proxies of `docs/deploy.md` as the page configures them, with the test's own ports and certificate."""

import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.settings import Settings
from tests.processes import REPOSITORY, environment, free_port

PAGE = REPOSITORY / "docs" / "deploy.md"
PATIENCE = 60.0
NGINX = """\
daemon off;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{page}
}}
"""


@dataclass
class Proxied:
    """A running proxy: its ports for HTTP and HTTPS, and an SSL context that trusts its certificate."""

    port: int
    plain_port: int
    trust: ssl.SSLContext

    @property
    def address(self) -> str:
        """Returns the address at which the proxy is reached."""
        return f"https://localhost:{self.port}"

    def client(self, source: str = "127.0.0.1", **more: object) -> httpx.Client:
        """Returns an HTTP client that connects from the address `source`."""
        transport = httpx.HTTPTransport(verify=self.trust, local_address=source, **more)  # type: ignore[arg-type]  # options by name
        return httpx.Client(transport=transport, base_url=self.address, timeout=PATIENCE)

    def connect(self) -> ssl.SSLSocket:
        """Opens a bare TLS connection, on which a test can send a part of a request."""
        return self.trust.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE), server_hostname="localhost"
        )


def block(language: str) -> str:
    """Returns the only code block of `docs/deploy.md` that is in this language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(text)


def certify(folder: Path, host: str = "localhost") -> tuple[Path, Path]:
    """Creates a self-signed certificate for a host, and its key. Returns both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, private


def _replace(text: str, *pairs: tuple[str, str]) -> str:
    for old, new in pairs:
        assert old in text, f"The page no longer has {old!r}."
        text = text.replace(old, new)
    return text


def _caddy(folder: Path, upstream: int, port: int, plain: int, chain: Path, key: Path) -> list[str]:
    options = f"{{\n\tadmin off\n\thttp_port {plain}\n\thttps_port {port}\n\tskip_install_trust\n"
    page = _replace(
        block("caddy"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("\naimline.example.org {", "\nlocalhost {"),
        ("# A certificate of your own: tls /etc/ssl/aimline/chain.pem /etc/ssl/aimline/key.pem", f"tls {chain} {key}"),
    )
    (folder / "Caddyfile").write_text(page.replace("{\n", options, 1))
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def _nginx(folder: Path, upstream: int, port: int, plain: int, chain: Path, key: Path) -> list[str]:
    page = _replace(
        block("nginx"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("aimline.example.org", "localhost"),
        ("/etc/ssl/aimline/chain.pem", str(chain)),
        ("/etc/ssl/aimline/key.pem", str(key)),
        ("/var/log/nginx/", f"{folder}/"),
    )
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, page=page))
    return ["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]


COMMANDS = {"caddy": _caddy, "nginx": _nginx}


def is_installed(name: str) -> bool:
    """Returns whether this proxy is installed on the machine."""
    return shutil.which(name) is not None


@contextmanager
def proxied(name: str, folder: Path, upstream: int) -> Iterator[Proxied]:
    """Runs the proxy in front of the port `upstream`, while the block runs."""
    chain, key = certify(folder)
    port, plain = free_port(), free_port()
    command = COMMANDS[name](folder, upstream, port, plain, chain, key)
    env = environment() | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "said").open("wb") as output, running(command, port, said=output, env=env):
        yield Proxied(port, plain, ssl.create_default_context(cafile=str(chain)))


@contextmanager
def running(command: list[str], port: int, said: object = None, env: dict[str, str] | None = None) -> Iterator[None]:
    """Runs a program that listens on a port, while the block runs."""
    process = subprocess.Popen(command, cwd=REPOSITORY, env=env, stdout=said, stderr=said)  # type: ignore[call-overload]  # a file or None
    try:
        until = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}."
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
            except OSError:
                assert time.monotonic() < until, f"{command[0]} does not listen."
                time.sleep(0.05)
            else:
                break
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


@contextmanager
def serving(settings: Settings) -> Iterator[int]:
    """Runs `aimline serve` as in the documentation, and yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "app", "serve", "--port", str(port)]
    command.append("--behind-proxy")
    with running(command, port, env=environment(settings)):
        yield port


@contextmanager
def echoing() -> Iterator[int]:
    """Runs an app that describes received requests, and yields its port."""
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(running([sys.executable, "-m", "tests.operations.echo", str(port)], port))
        yield port
