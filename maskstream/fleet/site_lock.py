"""Let one supervisor at a time lead a site, and pass requests of other commands to it."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import quote, unquote

from maskstream.errors import ConfigError, StoreError

_LOCK: Final = "supervisor.lock"
_REQUESTS: Final = "requests"
Request: TypeAlias = tuple[Literal["drain", "undrain"], str]
"""What should be done, and the name of the node."""


@contextmanager
def site_lock(folder: Path, site: str) -> Iterator[None]:
    """Lead a site within the block. The lock ends with the process, also where it is killed.

    Raises:
        ConfigError: Another supervisor leads the site.
        StoreError: The folder cannot be written.
    """
    import fcntl  # not on Windows, where fleets are not supported

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror}; set folder of the site to another folder") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            process = os.read(file, 20).decode(errors="replace").strip()
            raise ConfigError(
                f"{site}: another maskstream fleet leads this site (process {process or 'unknown'}); stop it first"
            ) from error
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(file)


def is_led(folder: Path) -> bool:
    """Return whether a supervisor leads the site with this folder."""
    try:
        with site_lock(folder, ""):
            return False
    except ConfigError:
        return True


def request(folder: Path, wanted: Request) -> None:
    """Ask the supervisor of a site, or the next one, to do something.

    Raises:
        StoreError: The folder cannot be written.
    """
    kind, node = wanted
    try:
        (folder / _REQUESTS).mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / _REQUESTS / quote(f"{kind}.{node}", safe="")).touch()
    except OSError as error:
        raise StoreError(f"{folder}: cannot be written: {error.strerror}; it belongs to the user of maskstream fleet") from error


def take_requests(folder: Path) -> Generator[Request, None, None]:
    """Yield the requests since the last call, in order, and delete each after the caller has done it."""
    found: list[tuple[int, Path]] = []
    with suppress(OSError):
        found = sorted((path.stat().st_mtime_ns, path) for path in (folder / _REQUESTS).iterdir())
    for _, path in found:
        kind, _, node = unquote(path.name).partition(".")
        if node and kind == "drain":
            yield "drain", node
        elif node and kind == "undrain":
            yield "undrain", node
        with suppress(OSError):
            path.unlink()
