"""Draw text in any script into images.

OpenCV draws ASCII. Pillow draws what OpenCV cannot draw. A character that no font has is replaced by its name or code.

OpenCV 4 draws ASCII, and a `?` for each other character. OpenCV 5 has a font with Latin, Greek, Cyrillic and Chinese. Neither
of them orders Arabic or Hebrew. Rendered text is cached, because the same text is drawn in each frame.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from math import ceil
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.rendering.fonts import font_with, load_font
from maskstream.types import BgrImage

Colour = tuple[int, int, int]
Alpha = NDArray[np.uint8]

_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_FONT_HEIGHT_PX: Final = 22  # of a capital at scale 1
_CAPITAL_FRACTION: Final = 0.729
"""Height of a capital as a fraction of the font size, in DejaVu Sans."""
_ABOVE, _BELOW = 1.5, 0.7
"""Space above and below the baseline, in heights of a capital."""
_MAX_LENGTH: Final = 300
_OPENCV: Final = "OpenCV"
_OPENCV_WITH_FONT: Final = 5  # major version; earlier ones draw ASCII only
_INVISIBLE: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff]")
"""Characters that join, order or colour the characters beside them."""
_SYMBOLS: Final = frozenset({"So", "Sk", "Sm"})
"""Unicode categories of symbols."""


@dataclass(frozen=True, eq=False)
class _Rendered:
    """A rendered text."""

    alpha: Alpha
    """(H, W) opacity of each pixel, 0 to 255."""
    baseline: int
    """Row of the baseline."""
    width: float
    """Distance in pixels from the start of this text to the start of a text after it."""


def text_width(text: str, height_px: float, stroke: int = 1) -> int:
    """Return the width of a text in pixels. `height_px` is the height of a capital."""
    if _is_plain(text):
        return int(cv2.getTextSize(text, _FONT, height_px / _FONT_HEIGHT_PX, stroke)[0][0])
    return ceil(_render(text, height_px, stroke).width)


def draw_text(
    bgr: BgrImage, text: str, origin: tuple[int, int], height_px: float, colour: Colour, stroke: int = 1, halo_px: int = 0
) -> None:
    """Draw a line of text into an image.

    Args:
        bgr: (H, W, 3) uint8 BGR, modified in place.
        text: Any string. Control characters are drawn as spaces.
        origin: Left end of the baseline, x and y in pixels.
        height_px: Height of a capital.
        colour: BGR.
        stroke: Thickness of lines in pixels.
        halo_px: Width of a black edge around the characters, which makes them readable on any background.
    """
    if _is_plain(text) and not halo_px:
        cv2.putText(bgr, text, origin, _FONT, height_px / _FONT_HEIGHT_PX, colour, stroke, cv2.LINE_AA)
        return
    rendered = _render(text, height_px, stroke)
    left, top = origin[0] - _margin(height_px), origin[1] - rendered.baseline
    if halo_px:
        _blend(bgr, _halo(text, height_px, stroke, halo_px), (left, top), (0, 0, 0))
    _blend(bgr, rendered.alpha, (left, top), colour)


def fitted_text(text: str, height_px: float, stroke: int, max_width_px: int) -> str:
    """Return a text, cut and with `...` at its end where it is wider than `max_width_px`."""
    if text_width(text, height_px, stroke) <= max_width_px:
        return text
    length = len(text)
    while length and text_width(f"{text[:length]}...", height_px, stroke) > max_width_px:
        length -= 1 + length // 20
    return f"{text[: max(0, length)]}..."


def text_alpha(text: str, height_px: float) -> Alpha:
    """Return the opacity of each pixel of a text, (H, W) 0 to 255. The text begins at the left edge."""
    return _render(text, height_px, 1).alpha[:, _margin(height_px) - 1 :]


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= _MAX_LENGTH


def _blend(bgr: BgrImage, alpha: Alpha, corner: tuple[int, int], colour: Colour) -> None:
    """Blend a colour into an image with the opacity `alpha`. Pixels outside of the image are left out."""
    (height, width), (left, top) = bgr.shape[:2], corner
    shown = alpha[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    area = bgr[max(top, 0) : max(top, 0) + shown.shape[0], max(left, 0) : max(left, 0) + shown.shape[1]]
    opacity = shown[..., None].astype(np.float32) / 255
    area[:] = (area + (np.array(colour, np.float32) - area) * opacity).round().astype(np.uint8)


@lru_cache(maxsize=256)
def _halo(text: str, height_px: float, stroke: int, halo_px: int) -> Alpha:
    side = 2 * halo_px + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate(_render(text, height_px, stroke).alpha, kernel), np.uint8)


@lru_cache(maxsize=256)
def _render(text: str, height_px: float, stroke: int) -> _Rendered:
    margin, baseline = _margin(height_px), ceil(_ABOVE * height_px)
    runs = [_render_run(font, run, height_px, stroke) for font, run in _runs(_writable(text))]
    width = sum(run.width for run in runs)
    alpha = np.zeros((baseline + ceil(_BELOW * height_px), ceil(width) + 2 * margin), np.uint8)
    x = 0.0
    for run in runs:
        area = alpha[:, round(x) : round(x) + run.alpha.shape[1]]
        np.maximum(area, run.alpha[:, : area.shape[1]], out=area)
        x += run.width
    alpha.setflags(write=False)
    return _Rendered(alpha, baseline, width)


def _margin(height_px: float) -> int:
    """Return the space on both sides of a text for what extends beyond its ends, halos included."""
    return ceil(height_px)


def _render_run(font: str, text: str, height_px: float, stroke: int) -> _Rendered:
    """Render a text with one font. It begins after a margin."""
    margin, baseline = _margin(height_px), ceil(_ABOVE * height_px)
    rows = baseline + ceil(_BELOW * height_px)
    if font == _OPENCV:
        scale = height_px / _FONT_HEIGHT_PX
        width = float(cv2.getTextSize(text, _FONT, scale, stroke)[0][0])
        alpha = np.zeros((rows, ceil(width) + 2 * margin), np.uint8)
        cv2.putText(alpha, text, (margin, baseline), _FONT, scale, 255, stroke, cv2.LINE_AA)
        return _Rendered(alpha, baseline, width)
    from PIL import Image, ImageDraw

    typeface = load_font(font, max(1, round(height_px / _CAPITAL_FRACTION)))
    assert typeface is not None, font
    width = typeface.getlength(text)
    image = Image.new("L", (ceil(width) + 2 * margin, rows))
    ImageDraw.Draw(image).text((margin, baseline), text, 255, typeface, anchor="ls", stroke_width=(stroke - 1) // 2)
    return _Rendered(np.array(image), baseline, width)


def _writable(text: str) -> str:
    """Return a text in which each character has a font. Characters are composed (NFC), control characters become spaces."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text.encode(errors="replace").decode()))
    if len(text) > _MAX_LENGTH:
        text = f"{text[:_MAX_LENGTH]}..."
    characters = (" " if unicodedata.category(character) in {"Cc", "Zl", "Zp", "Zs"} else character for character in text)
    return "".join(character if _font_of(character) else _in_words(character) for character in characters)


def _in_words(character: str) -> str:
    """Return the replacement of a character that no font has: `[door]` for a symbol, `U+5927` for a letter."""
    category = unicodedata.category(character)
    if category in _SYMBOLS:
        name = unicodedata.name(character, "").lower()
        if name:
            return f"[{name}]"
    return "" if category in {"Mn", "Me", "Cf"} else f"U+{ord(character):04X}"


def _runs(text: str) -> list[tuple[str, str]]:
    """Return the parts of a text with the font of each, in the order in which they are drawn from left to right."""
    by_pillow = _is_complex(text) or not (text.isascii() or _opencv_has_font())
    runs: list[tuple[str, str]] = []
    for character in text:
        is_attached = character == " " or (by_pillow and unicodedata.category(character) in {"Mn", "Mc", "Me"})
        font = _font_of(character, pillow_first=by_pillow) or _OPENCV
        if is_attached and runs:  # one run across words; a mark belongs to its letter
            font = runs[-1][0]
        if runs and runs[-1][0] == font:
            runs[-1] = (font, runs[-1][1] + character)
        else:
            runs.append((font, character))
    return runs[::-1] if _begins_from_right(text) else runs


def _is_complex(text: str) -> bool:
    """Return whether the form or order of characters depends on their neighbours, which OpenCV does not support."""
    return any(unicodedata.bidirectional(character) in {"R", "AL", "NSM"} for character in text)


def _begins_from_right(text: str) -> bool:
    directions = (unicodedata.bidirectional(character) for character in text)
    return next((direction != "L" for direction in directions if direction in {"L", "R", "AL"}), False)


@lru_cache(maxsize=8192)
def _font_of(character: str, *, pillow_first: bool = False) -> str | None:
    """Return OpenCV, or the file of a font for Pillow, or None if no font has the character."""
    if character == " ":
        return _OPENCV
    if pillow_first:
        return font_with(character) or (_OPENCV if _opencv_has(character) else None)
    return _OPENCV if _opencv_has(character) else font_with(character)


@lru_cache(maxsize=8192)
def _opencv_has(character: str) -> bool:
    if character.isascii():
        return character.isprintable()
    if not _opencv_has_font():
        return False
    drawn = np.zeros((2, 48, 64), np.uint8)
    for image, each in zip(drawn, (character, "?"), strict=True):  # OpenCV draws ? for a character that it does not have
        cv2.putText(image, each, (8, 36), _FONT, 1.0, 255, 1, cv2.LINE_AA)
    return bool((drawn[0] != drawn[1]).any())


def _opencv_has_font() -> bool:
    """Return whether OpenCV has characters beyond ASCII, of the same design."""
    return int(cv2.__version__.split(".")[0]) >= _OPENCV_WITH_FONT
