"""Find the folders for cache and state by the XDG Base Directory Specification, also for users without a home."""

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

_OURS: Final = "maskstream"
_NOWHERE: Final = Path(os.devnull)
"""A path in which no folder can be made."""


def cache_folder() -> Path:
    """Return the folder for compiled networks. It may not exist; without any place for it, it cannot be made."""
    return _caches(_requested_caches())[0] / _OURS


def cache_lasts() -> bool:
    """Return whether the content of the cache folder remains until the next start."""
    return _caches(_requested_caches())[1]


def state_folder() -> Path | None:
    """Return the folder for files that must outlive the program; None without a home. A temporary folder is not used."""
    given = os.environ.get("XDG_STATE_HOME") or expand_home("~/.local/state")
    return None if str(given).startswith("~") else Path(given, _OURS)


def lend_folders() -> None:
    """Point the libraries of this process to the same cache folder where the home cannot be used.

    Otherwise PyTorch makes a folder named `~` in the working folder, and Matplotlib prints a warning and leaves a folder behind.
    """
    folder, lasts = _caches(_requested_caches())
    if not lasts and folder != _NOWHERE:
        os.environ["XDG_CACHE_HOME"] = str(folder)
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def expand_home(path: str) -> str:
    """Return a path with `~` replaced by the home of the user. Without a home, `~` is kept, as in a shell."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path raises without a home)


def _requested_caches() -> str:
    return os.environ.get("XDG_CACHE_HOME") or expand_home("~/.cache")


@lru_cache
def _caches(requested: str) -> tuple[Path, bool]:
    """Return a folder for the caches of all programs, and whether it lasts; log it where it is not the requested one."""
    temporary = _temporary_name()
    if temporary is not None and requested == str(temporary):  # set by the program that started this one
        return temporary, False
    if not requested.startswith("~") and _can_be_made(Path(requested)):
        return Path(requested), True
    from loguru import logger  # rarely needed

    folder = _private(temporary)
    why = "there is no home folder" if requested.startswith("~") else f"{requested} cannot be written to"
    instead = "nothing is kept" if folder is None else f"{folder} is used, and may not exist at the next start"
    logger.warning("no place for a cache: {}; {}; set XDG_CACHE_HOME to a folder of yours", why, instead)
    return folder or _NOWHERE, False


def _can_be_made(folder: Path) -> bool:
    """Return whether a folder can be written to, or made where it does not exist."""
    try:
        existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
        return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    except OSError:  # no permission to read there
        return False


def _temporary_name() -> Path | None:
    """Return the temporary folder of this user, the same at each start: its content can be used again while it exists."""
    import tempfile

    try:
        return Path(tempfile.gettempdir(), f"{_OURS}-{os.getuid() if hasattr(os, 'getuid') else os.getlogin()}")
    except OSError:  # no temporary folder exists either
        return None


def _private(folder: Path | None) -> Path | None:
    """Make a folder that only this user can read and write; return None where that fails, as where another user owns it.

    A user who can write there could make the program run another network.
    """
    if folder is None:
        return None
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError:
        return None
    ours = not hasattr(os, "geteuid") or (status.st_uid == os.geteuid() and not status.st_mode & 0o077)
    return folder if stat.S_ISDIR(status.st_mode) and ours else None
