"""Names of files that are made for sources: fit for every file system, and never the same for two sources."""

import re
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final
from unicodedata import category, normalize

from maskstream.errors import SinkError

MOST_BYTES: Final = 255
"""Longest name of a file, as most file systems have it."""
_MOST_STEM_BYTES: Final = 200
"""Leaves room for what is put behind the name of a source: `_2`, `_002.mp4`."""
_DIGITS: Final = 8


def plain_name(name: str) -> str:
    """Return the name of a source as file names have it: `rtsp://***@cam:554/1` becomes `cam_554_1`.

    Letters of all languages stay, with what belongs to them (the dots of a decomposed letter too); of a very long name the
    beginning stays, and a hash keeps it apart from others.
    """
    composed = normalize("NFC", re.sub(r"^\w+://", "", name))
    marked = "".join(sign if _stays(sign) else "\0" for sign in composed)
    return shortened(re.sub("\0+", "_", marked).strip("._"), _MOST_STEM_BYTES) or "camera"


def _stays(sign: str) -> bool:
    return sign.isalnum() or sign in "_.-" or category(sign).startswith("M")


def shortened(name: str, most_bytes: int) -> str:
    """Return a name that is no longer than so many bytes of UTF-8; of a longer one the beginning, and a hash of the whole."""
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= most_bytes:
        return name
    kept = encoded[: most_bytes - _DIGITS - 1].decode(errors="ignore")
    return f"{kept}-{sha256(encoded).hexdigest()[:_DIGITS]}"


class FileNames:
    """The names of files and folders that the sources of a run have; may be asked by several threads.

    A name belongs to one source for the whole run, also where that source is removed. Names that a file system may take for the
    same, since they differ in case or in how signs are composed, count as the same.
    """

    def __init__(self) -> None:
        """Begin without names."""
        self._lock = Lock()
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def of(self, source_id: str, wish: str) -> str:
        """Return the name that is wished for, or where another source has that, one with `_2`, `_3` before its suffix."""
        with self._lock:
            if (source_id, wish) not in self._given:
                path = Path(wish)
                others = (f"{path.stem}_{number}{path.suffix}" for number in count(2))
                name = (
                    wish
                    if _folded(wish) not in self._taken
                    else next(each for each in others if _folded(each) not in self._taken)
                )
                self._taken.add(_folded(name))
                self._given[source_id, wish] = name
            return self._given[source_id, wish]


def _folded(name: str) -> str:
    return normalize("NFKC", normalize("NFKC", name).casefold())


def numbered(path: str, number: int) -> str:
    """Return the path of a part: the first is the path itself, the others have `_002`, `_003` before the suffix."""
    if number < 2:
        return path
    whole, end = Path(path), f"_{number:03}{Path(path).suffix}"
    return str(whole.with_name(shortened(whole.stem, MOST_BYTES - len(end.encode())) + end))


def claim(path: str, first: int = 1) -> tuple[str, int]:
    """Create an empty file under the first name that is free, and leave all that are there as they are.

    Nobody else gets the same name, not even another process that looks at the same moment.

    Args:
        path: Of the first part; see `numbered`.
        first: The number to begin with.

    Returns:
        The path of the file, and its number.

    Raises:
        SinkError: No file can be made there.
    """
    for number in count(first):
        claimed = numbered(path, number)
        try:
            Path(claimed).touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError as error:
            raise SinkError(f"{claimed}: cannot be written: {error.strerror}; choose another place or make room") from error
        return claimed, number
    raise AssertionError("numbers have no end")
