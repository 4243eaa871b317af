"""Where the program keeps files of its own: by the XDG Base Directory Specification, and where there is no home, elsewhere."""

import os
import stat
from functools import lru_cache
from pathlib import Path
from typing import Final

_OURS: Final = "maskstream"
_NOWHERE: Final = Path(os.devnull)
"""No folder can be made in it."""


def cache_folder() -> Path:
    """Return where compiled networks are kept; it need not exist, and cannot be made where there is no place for it at all."""
    return _caches(_wanted_caches())[0] / _OURS


def cache_lasts() -> bool:
    """Return whether what is kept there is there at the next start."""
    return _caches(_wanted_caches())[1]


def state_folder() -> Path | None:
    """Return where is kept what must outlive the program; None where there is no home. A temporary folder would not do."""
    given = os.environ.get("XDG_STATE_HOME") or expand_home("~/.local/state")
    return None if str(given).startswith("~") else Path(given, _OURS)


def lend_folders() -> None:
    """Let the libraries of this process keep their files where ours are, if the home is of no use.

    PyTorch would make a folder named `~` where the program was started, Matplotlib complain, and leave a folder behind each time.
    """
    folder, lasts = _caches(_wanted_caches())
    if not lasts and folder != _NOWHERE:
        os.environ["XDG_CACHE_HOME"] = str(folder)
        os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def expand_home(path: str) -> str:
    """Return a path with `~` as the home of the user; where there is none, the `~` stays, as in a shell."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path raises where there is no home)


def _wanted_caches() -> str:
    return os.environ.get("XDG_CACHE_HOME") or expand_home("~/.cache")


@lru_cache
def _caches(wanted: str) -> tuple[Path, bool]:
    """Return a folder for the caches of all programs, and whether it lasts; say so where it is not the one that is wanted."""
    temporary = _temporary_name()
    if temporary is not None and wanted == str(temporary):  # lent to the program that has started this one
        return temporary, False
    if not wanted.startswith("~") and _can_be_made(Path(wanted)):
        return Path(wanted), True
    from loguru import logger  # rarely needed, and not by what only shows help

    folder = _private(temporary)
    why = "there is no home folder" if wanted.startswith("~") else f"{wanted} cannot be written to"
    instead = "nothing is kept" if folder is None else f"{folder} is used, and may be gone at the next start"
    logger.warning("no place for a cache: {}; {}; set XDG_CACHE_HOME to a folder of yours", why, instead)
    return folder or _NOWHERE, False


def _can_be_made(folder: Path) -> bool:
    """Return whether a folder can be written to, or made where it is missing."""
    try:
        existing = next(parent for parent in (folder, *folder.absolute().parents) if os.path.lexists(parent))
        return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    except OSError:  # nobody may look there
        return False


def _temporary_name() -> Path | None:
    """Return the temporary folder of this user, the same for each start: what is in it is of use as long as it is there."""
    import tempfile

    try:
        return Path(tempfile.gettempdir(), f"{_OURS}-{os.getuid() if hasattr(os, 'getuid') else os.getlogin()}")
    except OSError:  # there is no temporary folder either
        return None


def _private(folder: Path | None) -> Path | None:
    """Make a folder that nobody else can read or write; return None where there is none, as where another user has the name.

    Whoever could write there could have the program run a network of theirs.
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
