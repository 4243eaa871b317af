"""Find fonts for characters that OpenCV cannot draw: first the font of matplotlib, then the fonts of the system.

Pillow is imported when a text first needs it. matplotlib is not imported.
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
_MAX_FILES: Final = 300  # each file is opened for a character that no font has
_PROBE_PX: Final = 24
_NO_CHARACTER: Final = "\U0010ffff"
# Fonts with Chinese, Japanese, Korean and symbols are tried before all others.
_LARGE_FONTS: Final = re.compile(
    r"cjk|wqy|droidsansfallback|sourcehan|msyh|simsun|msgothic|yugoth|malgun|pingfang|hiragino|applesdgothic|arial ?uni"
    r"|unifont|symbola|notoemoji|seguisym|seguiemj|notosans",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def font_with(character: str) -> str | None:
    """Return the file of the first font that has a character, or None if no font has it."""
    return next((path for path in (*_shipped_fonts(), *_system_fonts()) if _has(path, character)), None)


@lru_cache(maxsize=64)
def load_font(path: str, size_px: int, *, shapes: bool = True) -> "FreeTypeFont | None":
    """Return a font, or None if Pillow cannot load it in this size. Fonts of colour images have one size only.

    Args:
        path: The file of the font.
        size_px: The size of the font. The height of a capital is about 0.73 of it.
        shapes: Whether Pillow, if it can, orders and joins characters by the rules of their script.
    """
    from PIL import ImageFont

    engine = None if shapes else ImageFont.Layout.BASIC
    try:
        return ImageFont.truetype(path, size_px, layout_engine=engine)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4096)
def _has(path: str, character: str) -> bool:
    """Return whether a font draws a character differently from one that does not exist."""
    font = load_font(path, _PROBE_PX, shapes=False)  # with shaping, a combining mark alone gets a circle
    if font is None:
        return False
    try:
        drawn, absent = font.getmask(character), font.getmask(_NO_CHARACTER)
    except (OSError, ValueError):
        return False
    return drawn.getbbox() is not None and (drawn.size != absent.size or bytes(drawn) != bytes(absent))


@cache
def _shipped_fonts() -> tuple[str, ...]:
    """Return DejaVu Sans, which is part of matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and many symbols."""
    spec = importlib.util.find_spec("matplotlib")  # imports nothing
    folders = [] if spec is None else spec.submodule_search_locations or []
    paths = [Path(folder, "mpl-data", "fonts", "ttf", "DejaVuSans.ttf") for folder in folders]
    return tuple(str(path) for path in paths if path.is_file())


@cache
def _system_fonts() -> tuple[str, ...]:
    """Return the font files of the system, those with many characters first."""
    found = [path for folder in _font_folders() for path in _files_below(folder)]
    return tuple(sorted(found, key=lambda path: (_LARGE_FONTS.search(Path(path).name) is None, path))[:_MAX_FILES])


def _font_folders() -> list[Path]:
    """Return the folders of fonts on this operating system. Some may not exist."""
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (Path.home raises for a user without a home)
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library" / "Fonts"]
    if sys.platform == "win32":
        windows, local = os.environ.get("WINDIR", r"C:\Windows"), os.environ.get("LOCALAPPDATA", str(home))
        return [Path(windows, "Fonts"), Path(local, "Microsoft", "Windows", "Fonts")]
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local" / "share" / "fonts", home / ".fonts"]


def _files_below(folder: Path) -> list[str]:
    return [
        str(Path(parent, name))
        for parent, _, names in os.walk(folder)
        for name in sorted(names)
        if name.lower().endswith(_SUFFIXES)
    ]
