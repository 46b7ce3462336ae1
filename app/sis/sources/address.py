"""Parses and formats the address of a source: a URL, or a file or folder on this machine.

Does no input or output.
"""

from pathlib import PurePosixPath
from typing import Final
from urllib.parse import urlsplit, urlunsplit

HIDDEN: Final = "..."
"""The text that replaces possible secrets in a shown address, such as a link's signature."""


def is_local(url: str) -> bool:
    """Returns whether an address is a file or a folder on this machine."""
    return url.startswith(("file:", "/"))


def without_path(url: str) -> str:
    """Returns an address as remote callers may see it.

    For a file or folder of this machine, only the last part of its path is shown. Any other address is unchanged.
    """
    return f"file:{PurePosixPath(path_of(url)).name}" if is_local(url) else url


def hide_secrets(url: str) -> str:
    """Returns an address in which user name, password and query values are hidden, because they may be secrets."""
    parts = urlsplit(url)
    if is_local(url) or not (parts.query or "@" in parts.netloc):
        return url
    names = [part.partition("=")[::2] for part in parts.query.split("&")]
    query = "&".join(f"{name}={HIDDEN}" if value or name == "" else HIDDEN for name, value in names)
    user, _, host = parts.netloc.rpartition("@")
    netloc = f"{HIDDEN}@{host}" if user else host
    return urlunsplit((parts.scheme, netloc, parts.path, query if parts.query else "", ""))


def path_of(url: str) -> str:
    """Returns the path of a local address."""
    return urlsplit(url).path if url.startswith("file:") else url
