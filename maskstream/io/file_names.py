"""Make file names: valid on every file system, unique for each source, and sorted in natural order."""

import re
from collections.abc import Iterable
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Final
from unicodedata import category, normalize

from maskstream.errors import SinkError

MOST_BYTES: Final = 255
"""The maximum length of a file name on most file systems."""
_MOST_STEM_BYTES: Final = 200
"""The maximum length of the name of a source. It leaves room for endings: `_2`, `_002.mp4`."""
_DIGITS: Final = 8


def plain_name(name: str) -> str:
    """Return the name of a source for file names: `rtsp://***@cam:554/1` becomes `cam_554_1`.

    Letters of all languages are kept, with their combining characters. A very long name is shortened and gets a hash.
    """
    composed = normalize("NFC", re.sub(r"^\w+://", "", name))
    marked = "".join(character if _is_kept(character) else "\0" for character in composed)
    return shortened(re.sub("\0+", "_", marked).strip("._"), _MOST_STEM_BYTES) or "camera"


def _is_kept(character: str) -> bool:
    return character.isalnum() or character in "_.-" or category(character).startswith("M")


def shortened(name: str, most_bytes: int) -> str:
    """Return a name of at most `most_bytes` bytes of UTF-8: of a longer name the beginning, and a hash of the complete name."""
    encoded = name.encode(errors="surrogateescape")
    if len(encoded) <= most_bytes:
        return name
    kept = encoded[: most_bytes - _DIGITS - 1].decode(errors="ignore")
    return f"{kept}-{sha256(encoded).hexdigest()[:_DIGITS]}"


class FileNames:
    """Names of files and folders of the sources of a run. Several threads may use it.

    A name belongs to one source for the complete run, also after the source is removed. Names that differ only in case or in
    Unicode composition count as the same, as on some file systems.
    """

    def __init__(self) -> None:
        """Begin without names."""
        self._lock = Lock()
        self._given: dict[tuple[str, str], str] = {}
        self._taken: set[str] = set()

    def of(self, source_id: str, requested: str) -> str:
        """Return the requested name; where another source has it, the name with `_2`, `_3` before its suffix."""
        with self._lock:
            if (source_id, requested) not in self._given:
                name = self._first_free(requested)
                self._taken.add(_folded(name))
                self._given[source_id, requested] = name
            return self._given[source_id, requested]

    def _first_free(self, requested: str) -> str:
        if _folded(requested) not in self._taken:
            return requested
        path = Path(requested)
        others = (f"{path.stem}_{number}{path.suffix}" for number in count(2))
        return next(each for each in others if _folded(each) not in self._taken)


def _folded(name: str) -> str:
    return normalize("NFKC", normalize("NFKC", name).casefold())


def numbered(path: str, number: int) -> str:
    """Return the path of a numbered file: number 1 is the path itself, the others have `_002`, `_003` before the suffix."""
    if number < 2:
        return path
    whole, end = Path(path), f"_{number:03}{Path(path).suffix}"
    return str(whole.with_name(shortened(whole.stem, MOST_BYTES - len(end.encode())) + end))


def claim(path: str, first: int = 1) -> tuple[str, int]:
    """Create an empty file under the first free name. Existing files are not changed.

    No other process gets the same name, also at the same moment.

    Args:
        path: The path of number 1; see `numbered`.
        first: The number to begin with.

    Returns:
        The path of the file, and its number.

    Raises:
        SinkError: The file cannot be created.
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


def natural_order(paths: Iterable[str]) -> list[str]:
    """Sort paths in natural order: `image_2` before `image_10`, folder by folder, without regard to case."""
    return sorted(paths, key=lambda path: ([_numbers_apart(part) for part in Path(path).parts], path))


def _numbers_apart(name: str) -> list[str | int]:
    """Return text and numbers in turn, text first: `a10.jpg` becomes `["a", 10, ".jpg"]`."""
    return [int(part) if odd % 2 else part.casefold() for odd, part in enumerate(re.split(r"(\d+)", name))]
