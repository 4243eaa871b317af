"""Text in pictures, in any script: ASCII by OpenCV, what it cannot write by Pillow, what no font has in words.

OpenCV 4 writes ASCII and a `?` for all else; OpenCV 5 has a font of its own with Latin, Greek, Cyrillic and Chinese. Neither puts
Arabic or Hebrew in order. Text that is drawn in each frame is kept once it is rendered.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import groupby
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
_CAPITAL_SHARE: Final = 0.729
"""Of the size of DejaVu Sans, the height of a capital."""
_ABOVE, _BELOW = 1.5, 0.7
"""What letters need above and below the line they stand on, in heights of a capital."""
_LONGEST: Final = 300
_OPENCV: Final = "OpenCV"
_OPENCV_WITH_FONT: Final = 5  # major version; the ones before draw nothing but ASCII
_INVISIBLE: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff]")
"""What joins, orders or colours the signs beside it."""
_NAMED: Final = frozenset({"So", "Sk", "Sm"})


@dataclass(frozen=True, eq=False)
class _Rendered:
    """A text as how much of its ink each pixel has."""

    alpha: Alpha
    """(H, W) 0 to 255."""
    baseline: int
    """Row that letters stand on."""
    width: float
    """How far it goes to the right."""


def text_width(text: str, height_px: float, stroke: int = 1) -> int:
    """Return how wide a text is in pixels; `height_px` is that of a capital."""
    if _is_plain(text):
        return int(cv2.getTextSize(text, _FONT, height_px / _FONT_HEIGHT_PX, stroke)[0][0])
    return ceil(_render(text, height_px, stroke).width)


def draw_text(
    bgr: BgrImage, text: str, origin: tuple[int, int], height_px: float, colour: Colour, stroke: int = 1, halo_px: int = 0
) -> None:
    """Write a line of text into a picture.

    Args:
        bgr: (H, W, 3) uint8, blue first; it is modified.
        text: In any script; what is not text is shown as it can be.
        origin: Left end of the line that letters stand on, x and y in pixels.
        height_px: Of a capital.
        colour: Blue, green, red.
        stroke: Thickness of lines in pixels.
        halo_px: Width of a black edge around the letters, so that they can be read on any ground.
    """
    if _is_plain(text) and not halo_px:
        cv2.putText(bgr, text, origin, _FONT, height_px / _FONT_HEIGHT_PX, colour, stroke, cv2.LINE_AA)
        return
    rendered = _render(text, height_px, stroke)
    left, top = origin[0] - _margin(height_px), origin[1] - rendered.baseline
    if halo_px:
        _lay(bgr, _halo(text, height_px, stroke, halo_px), (left, top), (0, 0, 0))
    _lay(bgr, rendered.alpha, (left, top), colour)


def fitted_text(text: str, height_px: float, stroke: int, max_width_px: int) -> str:
    """Return a text, cut and with `...` at its end where it is wider than `max_width_px`."""
    if text_width(text, height_px, stroke) <= max_width_px:
        return text
    length = len(text)
    while length and text_width(f"{text[:length]}...", height_px, stroke) > max_width_px:
        length -= 1 + length // 20
    return f"{text[: max(0, length)]}..."


def text_alpha(text: str, height_px: float) -> Alpha:
    """Return a text as how much of its ink each pixel has (H, W) 0 to 255, its left end at the left edge."""
    return _render(text, height_px, 1).alpha[:, _margin(height_px) - 1 :]


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and len(text) <= _LONGEST


def _lay(bgr: BgrImage, alpha: Alpha, corner: tuple[int, int], colour: Colour) -> None:
    """Lay a colour over a picture, as much of it as `alpha` says; what is outside of the picture is left out."""
    (height, width), (left, top) = bgr.shape[:2], corner
    shown = alpha[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
    area = bgr[max(top, 0) : max(top, 0) + shown.shape[0], max(left, 0) : max(left, 0) + shown.shape[1]]
    share = shown[..., None].astype(np.float32) / 255
    area[:] = (area + (np.array(colour, np.float32) - area) * share).round().astype(np.uint8)


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
    """Return the room beside a text for what reaches beyond its ends, halos included."""
    return ceil(height_px)


def _render_run(font: str, text: str, height_px: float, stroke: int) -> _Rendered:
    """Render a text by one font, its left end after a margin."""
    margin, baseline = _margin(height_px), ceil(_ABOVE * height_px)
    rows = baseline + ceil(_BELOW * height_px)
    if font == _OPENCV:
        scale = height_px / _FONT_HEIGHT_PX
        width = float(cv2.getTextSize(text, _FONT, scale, stroke)[0][0])
        alpha = np.zeros((rows, ceil(width) + 2 * margin), np.uint8)
        cv2.putText(alpha, text, (margin, baseline), _FONT, scale, 255, stroke, cv2.LINE_AA)
        return _Rendered(alpha, baseline, width)
    from PIL import Image, ImageDraw

    typeface = load_font(font, max(1, round(height_px / _CAPITAL_SHARE)))
    assert typeface is not None, font
    width = typeface.getlength(text)
    image = Image.new("L", (ceil(width) + 2 * margin, rows))
    ImageDraw.Draw(image).text((margin, baseline), text, 255, typeface, anchor="ls", stroke_width=(stroke - 1) // 2)
    return _Rendered(np.array(image), baseline, width)


def _writable(text: str) -> str:
    """Return a text of which every sign has a font: decomposed letters put together, control characters as spaces."""
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text.encode(errors="replace").decode()))
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}..."
    signs = (" " if unicodedata.category(sign) in {"Cc", "Zl", "Zp", "Zs"} else sign for sign in text)
    return "".join(sign if _font_of(sign) else _in_words(sign) for sign in signs)


def _in_words(sign: str) -> str:
    """Return what stands for a sign that no font has: `[door]` for a symbol, `U+5927` for a letter."""
    category = unicodedata.category(sign)
    if category in _NAMED:
        name = unicodedata.name(sign, "").lower()
        if name:
            return f"[{name}]"
    return "" if category in {"Mn", "Me", "Cf"} else f"U+{ord(sign):04X}"


def _runs(text: str) -> list[tuple[str, str]]:
    """Return pieces of a text with the font of each, in the order they are drawn from left to right."""
    by_pillow = _is_complex(text) or not (text.isascii() or _opencv_has_font())
    fonts = [_font_of(sign, pillow_first=by_pillow) or _OPENCV for sign in text]
    for index, sign in enumerate(text):
        if sign == " " or (by_pillow and unicodedata.category(sign) in {"Mn", "Mc", "Me"}):
            fonts[index] = fonts[index - 1] if index else fonts[index]  # one run across words, a mark with its letter
    runs = [
        (font, "".join(sign for _, sign in pairs))
        for font, pairs in groupby(zip(fonts, text, strict=True), key=lambda pair: pair[0])
    ]
    return runs[::-1] if _begins_from_right(text) else runs


def _is_complex(text: str) -> bool:
    """Return whether letters change their form or order with their neighbours: OpenCV does not know how."""
    return any(unicodedata.bidirectional(sign) in {"R", "AL", "NSM"} for sign in text)


def _begins_from_right(text: str) -> bool:
    directions = (unicodedata.bidirectional(sign) for sign in text)
    return next((direction != "L" for direction in directions if direction in {"L", "R", "AL"}), False)


@lru_cache(maxsize=8192)
def _font_of(sign: str, *, pillow_first: bool = False) -> str | None:
    """Return OpenCV, or the file of a font for Pillow; None where nothing has a sign."""
    if sign == " ":
        return _OPENCV
    if pillow_first:
        return font_with(sign) or (_OPENCV if _opencv_has(sign) else None)
    return _OPENCV if _opencv_has(sign) else font_with(sign)


@lru_cache(maxsize=8192)
def _opencv_has(sign: str) -> bool:
    if sign.isascii():
        return sign.isprintable()
    return _opencv_has_font() and bool((_by_opencv(sign) != _unknown_sign()).any())


def _opencv_has_font() -> bool:
    """Return whether OpenCV has letters beyond ASCII, of the same design."""
    return int(cv2.__version__.split(".")[0]) >= _OPENCV_WITH_FONT


@cache
def _unknown_sign() -> Alpha:
    return _by_opencv("?")


def _by_opencv(sign: str) -> Alpha:
    drawn = np.zeros((48, 64), np.uint8)
    cv2.putText(drawn, sign, (8, 36), _FONT, 1.0, 255, 1, cv2.LINE_AA)
    return drawn
