"""Defines `aimline serve`, which runs the HTTP server of the APIs, in one or several processes, with or without TLS."""

import asyncio
import os
import socket
import ssl
import sys
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from app.core.db import check_server
from app.core.errors import AimlineError
from app.core.log import log_as_json
from app.graphql.text_socket import MAX_MESSAGE
from app.serving.metrics import metrics
from app.serving.supervisor import Supervisor
from app.settings import Settings

KEEP_ALIVE = 75
"""The seconds for which an idle connection is kept.

Proxies keep idle connections for a shorter time, so that the proxy is the first to close a connection.
"""
GRACE = 15
"""The seconds that running requests have to finish at shutdown."""
PING = 5
"""The seconds within which a process must answer its supervisor; used if there are several processes."""
PLAIN = (
    "Warning: {host} can be reached from other machines, so tokens and children's records would be unencrypted. "
    "Give --certificate and --key, or --behind-proxy if a proxy terminates TLS."
)


def add_to(app: typer.Typer) -> None:
    """Adds `aimline serve` to the command line."""

    @app.command()
    def serve(
        host: str = "127.0.0.1",
        port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
        workers: Annotated[int, typer.Option(min=1, help="The number of processes.")] = 1,
        behind_proxy: Annotated[
            bool,
            typer.Option(
                "--behind-proxy", help="A proxy terminates TLS; X-Forwarded-* headers from AIMLINE_PROXIES are trusted."
            ),
        ] = False,
        certificate: Annotated[Path | None, typer.Option(help="A PEM file, with its chain, to serve HTTPS.")] = None,
        key: Annotated[Path | None, typer.Option(help="The certificate's key, if it is in a file of its own.")] = None,
    ) -> None:
        """Serves REST and GraphQL."""
        settings = Settings()
        settings.check_networks()
        settings.weights  # noqa: B018  # raises here if a setting is invalid
        os.environ["AIMLINE_WORKERS"] = str(workers)  # each process enforces the quotas divided by this number
        check_certificate(certificate, key)
        if certificate is None and not behind_proxy and not _is_loopback(host):
            print(PLAIN.format(host=host), file=sys.stderr)
        asyncio.run(check_server(settings.url_of("api"), "api"))
        _allow_files(settings.connections)
        config = uvicorn.Config(
            "app.serving.start:create",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            http="app.serving.protocol:BoundedProtocol",
            loop="app.serving.loop:new_loop",
            ws="app.serving.websocket:BoundedWebSocket",
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,  # the size of a compressed answer reveals something of its content
            lifespan="on",
            limit_concurrency=settings.connections,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACE,
            timeout_worker_healthcheck=PING,
            proxy_headers=behind_proxy,
            forwarded_allow_ips=[network.strip() for network in settings.proxies.split(",")],
            ssl_certfile=certificate,
            ssl_keyfile=key,
            access_log=False,
            log_level="warning",
            server_header=False,
        )
        with metrics(settings.api_metrics_port, settings.metrics_host, workers):
            run(config)


def check_address(host: str, port: int) -> None:
    """Raises `AimlineError` for an address that this process cannot listen on, such as one that is in use."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except (OSError, UnicodeError) as error:
        detail = getattr(error, "strerror", None) or type(error).__name__
        raise AimlineError(f"The api cannot listen on {host}, port {port}: {detail}.") from None


def check_certificate(certificate: Path | None, key: Path | None) -> None:
    """Raises `AimlineError` for a certificate and a key that cannot be used together."""
    if certificate is None:
        if key is not None:
            raise AimlineError("A --key needs a --certificate.")
        return

    def refuse_passphrase() -> str:
        raise AimlineError("The key is encrypted. Give one that is not, readable by the api's user only.")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, refuse_passphrase)
    except (ssl.SSLError, OSError) as error:
        detail = error.strerror or type(error).__name__
        raise AimlineError(f"The certificate cannot be served with this key: {detail}.") from None


def run(config: uvicorn.Config) -> None:
    """Serves until the process is stopped; exits with 1 if it could not start.

    Raises `AimlineError` if the process cannot listen on the address.
    """
    check_address(config.host, config.port)
    if config.workers > 1:
        log_as_json()
        supervisor = Supervisor(config, sockets=[config.bind_socket()])
        supervisor.run()
        if supervisor.has_failed:
            sys.exit(1)
        return
    server = uvicorn.Server(config)
    try:
        server.run()
    except SystemExit:
        sys.exit(1)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _allow_files(connections: int) -> None:
    """Increases this process's limit of open files to the number that its connections need, if the system allows it."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = connections + 512
        if soft != resource.RLIM_INFINITY and soft < needed:
            most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
