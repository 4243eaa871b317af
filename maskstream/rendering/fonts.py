"""Fonts for what OpenCV cannot write: the one that comes with matplotlib, then those of the system.

Neither Pillow nor matplotlib is imported until a text needs them.
"""

import importlib.util
import os
import re
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_SUFFIXES: Final = (".ttf", ".otf", ".ttc", ".otc")
_MOST_FILES: Final = 300  # for a sign that no font has, each of them is opened
_PROBE_PX: Final = 24
_NO_CHARACTER: Final = "\U0010ffff"
# What has Chinese, Japanese, Korean and symbols is asked before all the others.
_LARGE_FONTS: Final = re.compile(
    r"cjk|wqy|droidsansfallback|sourcehan|msyh|simsun|msgothic|yugoth|malgun|pingfang|hiragino|applesdgothic|arial ?uni"
    r"|unifont|symbola|notoemoji|seguisym|seguiemj|notosans",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def font_with(character: str) -> str | None:
    """Return the file of the first font that has a character, None where no font has it."""
    return next((path for path in (*_shipped_fonts(), *_system_fonts()) if _has(path, character)), None)


@lru_cache(maxsize=64)
def load_font(path: str, size_px: int, *, shapes: bool = True) -> "FreeTypeFont | None":
    """Return a font, or None where Pillow cannot use it in this size: fonts of colour pictures have one size only.

    Args:
        path: Its file.
        size_px: Its size, of which a capital takes some 0.73.
        shapes: Letters are put in order and joined as their script asks for, where Pillow can do that.
    """
    from PIL import ImageFont

    engine = None if shapes else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(path, size_px, layout_engine=engine)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _has(path: str, character: str) -> bool:
    """Return whether a font draws a character otherwise than one that does not exist."""
    font = load_font(path, _PROBE_PX, shapes=False)  # shaping adds a circle to a mark that stands alone
    if font is None:
        return False
    try:
        drawn, absent = font.getmask(character), font.getmask(_NO_CHARACTER)
    except (OSError, ValueError):
        return False
    return drawn.getbbox() is not None and (drawn.size != absent.size or bytes(drawn) != bytes(absent))


@cache
def _shipped_fonts() -> tuple[str, ...]:
    """Return DejaVu Sans, which matplotlib brings: Latin, Greek, Cyrillic, Arabic, Hebrew and many symbols."""
    spec = importlib.util.find_spec("matplotlib")  # imports nothing
    folders = [] if spec is None else spec.submodule_search_locations or []
    paths = [Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf") for folder in folders]
    return tuple(str(path) for path in paths if path.is_file())


@cache
def _system_fonts() -> tuple[str, ...]:
    """Return the font files of the system, those with many characters first."""
    found = [path for folder in _font_folders() for path in _files_below(folder)]
    return tuple(sorted(found, key=lambda path: (_LARGE_FONTS.search(Path(path).name) is None, path))[:_MOST_FILES])


def _font_folders() -> list[Path]:
    """Return where this kind of system keeps its fonts; what is not there does no harm."""
    own = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home raises for a user without a home)
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), own / "Library" / "Fonts"]
    if sys.platform == "win32":
        windows, local = os.environ.get("WINDIR", r"C:\Windows"), os.environ.get("LOCALAPPDATA", str(own))
        return [Path(windows, "Fonts"), Path(local, "Microsoft", "Windows", "Fonts")]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), own / ".local" / "share" / "fonts", own / ".fonts"]


def _files_below(folder: Path) -> list[str]:
    return [
        str(Path(parent, name))
        for parent, _, names in os.walk(folder)
        for name in sorted(names)
        if name.lower().endswith(_SUFFIXES)
    ]
