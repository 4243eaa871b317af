"""Things before a face that are no mask, and things around a mask: hands, beards, cups, scarves, glasses, hats.

Lengths and places are in sides of the crop, x to the right and y down, as `maskstream.align` lays a face into it: the eyes at
0.36, on most faces the tip of the nose at 0.54, the mouth at 0.67, the chin at 0.88. Distances are negative inside a shape.
Pictures are planes (3, S, S) of blue, green and red here, and a colour is (3, 1, 1).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import ArrayLike

from maskstream.align import EYE_DISTANCE, EYE_LEVEL
from maskstream.types import BgrImage, FloatArray, Label

_HAIR_BGR: Final = ((18, 18, 22), (24, 26, 34), (28, 34, 46), (36, 54, 80), (58, 88, 125), (110, 113, 117), (175, 179, 183))
_OUTLINE_X: Final = (0, 0.07, 0.13, 0.20, 0.27, 0.33, 0.5)
"""Distances from the middle of the face, where beard and hair are given by their heights."""
_UP: Final = -np.pi / 2


class _Canvas:
    """A crop that is drawn on, where each pixel knows its place."""

    def __init__(self, crop_bgr: BgrImage) -> None:
        self.size = crop_bgr.shape[0]
        self.bgr: FloatArray = np.ascontiguousarray(crop_bgr.transpose(2, 0, 1), np.float32)
        self.row = ((np.arange(self.size) + 0.5) / self.size).astype(np.float32)
        self.x, self.y = self.row[None, :], self.row[:, None]

    def skin_bgr(self) -> FloatArray:
        """Forehead, bridge of the nose and under the eyes, which a mask leaves free."""
        patches = ((0.40, 0.20, 0.60, 0.28), (0.46, 0.34, 0.54, 0.46), (0.28, 0.42, 0.38, 0.47), (0.62, 0.42, 0.72, 0.47))
        corners = (np.array(patches) * self.size).astype(int)
        pixels = [self.bgr[:, y1 : y2 + 1, x1 : x2 + 1].reshape(3, -1) for x1, y1, x2, y2 in corners]
        return _colour(np.median(np.concatenate(pixels, axis=1), axis=1))

    def inside(self, distance: FloatArray, softness: float = 0.012) -> FloatArray:
        """Return how far, from 0 to 1, each pixel belongs to a shape; no edge is sharper than a pixel."""
        return np.asarray((0.5 - distance / max(softness, 1 / self.size)).clip(0, 1), np.float32)

    def paint(self, cover: FloatArray, bgr: FloatArray) -> None:
        change = bgr - self.bgr
        change *= cover
        self.bgr += change

    def darken(self, cover: FloatArray, amount: float) -> None:
        self.bgr *= 1 - amount * cover

    def turned(self, place_xy: ArrayLike, angle: float) -> tuple[FloatArray, FloatArray]:
        """Return coordinates (S, S) along and across a direction, from a place; the angle turns from x towards y."""
        (x, y), cos, sin = np.asarray(place_xy, np.float32), np.float32(np.cos(angle)), np.float32(np.sin(angle))
        right, down = self.x - x, self.y - y
        return np.asarray(cos * right + sin * down), np.asarray(cos * down - sin * right)

    def noise(self, rng: np.random.Generator, rows: int, columns: int) -> FloatArray:
        """Return smooth noise (S, S) of so many blobs."""
        cells = rng.standard_normal((rows, columns), np.float32)
        return np.asarray(cv2.resize(cells, (self.size, self.size), interpolation=cv2.INTER_LINEAR), np.float32)

    def wave(self, rng: np.random.Generator, cells: int) -> FloatArray:
        """Return a smooth random line (S,)."""
        line = cv2.resize(rng.standard_normal((1, cells), np.float32), (self.size, 1), interpolation=cv2.INTER_CUBIC)
        return np.asarray(line[0], np.float32)

    def outline(self, heights: tuple[float, ...]) -> FloatArray:
        """Return a symmetric line (S,) over the face, by its heights at `_OUTLINE_X`."""
        return np.asarray(np.interp(abs(self.row - 0.5), _OUTLINE_X, heights), np.float32)


@dataclass(frozen=True, eq=False)
class _Hand:
    """What the fingers of one hand share."""

    skin_bgr: FloatArray
    radius: float
    """Of a finger."""
    slant: float
    """How much lighter one side of each finger is."""
    has_nails: bool


def occlude(crop_bgr: BgrImage, label: Label, rng: np.random.Generator) -> BgrImage:
    """Return a face with something before it that does not change what it is labelled.

    Args:
        crop_bgr: (S, S, 3) uint8 BGR with S of at least 24, cut by `align_face`; not modified.
        label: What the face is; a mask stays visible, and what covers a bare mouth does not look like one.
        rng: Decides everything.

    Raises:
        ValueError: There is nothing to draw over a face of this label.
    """
    if label not in OCCLUDERS:
        raise ValueError(f"cannot occlude a face labelled {label}, expected one of {', '.join(OCCLUDERS)}")
    draw = OCCLUDERS[label][rng.integers(len(OCCLUDERS[label]))]
    step = int(rng.choice((-1, 1)))  # everything comes from the left; half of the faces are drawn on in a mirror
    canvas = _Canvas(crop_bgr[:, ::step])
    draw(canvas, rng)
    return np.ascontiguousarray(canvas.bgr.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)[:, ::step])


def _hand(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Fingers over mouth and chin, from the side or from below."""
    if rng.random() < 0.6:
        _fingers(canvas, rng, (rng.uniform(0.55, 0.8), rng.uniform(0.70, 0.80)), rng.uniform(-0.5, 0.25), most=4)
    else:
        _fingers(canvas, rng, (rng.uniform(0.4, 0.62), rng.uniform(0.60, 0.72)), _UP + rng.uniform(-0.4, 0.4), most=4)


def _hand_at_the_side(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Fingers that touch the cheek or the edge of a mask."""
    _fingers(canvas, rng, (rng.uniform(0.14, 0.25), rng.uniform(0.6, 0.9)), rng.uniform(-1.3, -0.2), most=4)


def _fingers(canvas: _Canvas, rng: np.random.Generator, tips_xy: tuple[float, float], angle: float, most: int) -> None:
    """Draw the back of a hand that points along an angle, its fingertips around a place."""
    count, radius = int(rng.integers(2, most + 1)), rng.uniform(0.043, 0.053)
    skin_bgr = canvas.skin_bgr() * _colour((0.95, 0.97, 1.02)) * np.float32(rng.uniform(0.8, 1.1))
    skin_bgr = skin_bgr * (1 + 0.04 * canvas.noise(rng, 7, 7))
    hand = _Hand(skin_bgr, radius, rng.uniform(-0.15, 0.15), rng.random() < 0.6)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    back, aside = canvas.turned(np.array(tips_xy) - 0.4 * along, angle + np.pi)
    width = count * radius
    canvas.paint(canvas.inside(_length(np.minimum(back, 0), aside) - width), skin_bgr * (0.92 - 0.25 * (aside / width) ** 2))
    for index in rng.permutation(count):
        shift = float(index) - (count - 1) / 2
        tip_xy = np.array(tips_xy) + across * shift * radius * rng.uniform(1.75, 1.95)
        tip_xy -= along * (0.035 * shift**2 + rng.uniform(-0.015, 0.015))
        _finger(canvas, hand, tip_xy, angle + 0.05 * shift + rng.normal(0, 0.03))


def _finger(canvas: _Canvas, hand: _Hand, tip_xy: ArrayLike, angle: float) -> None:
    back, across = canvas.turned(tip_xy, angle + np.pi)
    distance = _length(back - back.clip(0, 0.42), across) - hand.radius
    fading = (1.5 - back * 3.5).clip(0, 1)  # fingers melt into the hand
    rounding = (across / hand.radius).clip(-1, 1)
    bend = back + 0.15 * hand.radius * rounding**2
    crease = (1 - abs(bend - 2.3 * hand.radius) / 0.014).clip(0, 1) + (1 - abs(bend - 5 * hand.radius) / 0.022).clip(0, 1)
    shade = 1.04 + hand.slant * rounding - 0.3 * fading * rounding**2 - 0.09 * crease
    if hand.has_nails:
        shade += 0.15 * canvas.inside(_length(back / 0.8, across) - 0.6 * hand.radius)
    canvas.darken(canvas.inside(distance - 0.008, 0.03) * fading, 0.55)
    canvas.paint(canvas.inside(distance), hand.skin_bgr * shade)


def _beard(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Hair on jaw and upper lip, and mostly on the cheeks, the mouth left free."""
    size, mouth_y, longer = canvas.size, rng.uniform(0.645, 0.695), rng.uniform(-0.03, 0.06)
    is_full = rng.random() < 0.65
    cheeks = (0.01, -0.05, -0.16, -0.16) if is_full else (0.06, 0.2, 0.2, 0.2)
    top = canvas.outline((-0.075, -0.08, -0.05, *cheeks)) + np.float32(mouth_y)
    bottom = canvas.outline((0.21, 0.20, 0.18, 0.13, 0.05, -0.05, -0.3)) + np.float32(mouth_y + longer)
    ragged = 0.012 * canvas.wave(rng, 20)
    area = canvas.inside(top + ragged - canvas.y, 0.06) * canvas.inside(canvas.y - bottom - ragged, 0.07)
    area *= 1 - canvas.inside(_length((canvas.x - 0.5) / 3, canvas.y - mouth_y) - 0.033, 0.025)
    area *= np.float32(rng.uniform(0.45, 0.95))
    hair_bgr, fine = _hair_colour(rng), canvas.noise(rng, size // 2, size // 2)
    light = 1 + 0.25 * canvas.noise(rng, 5, 5) + 0.15 * fine
    canvas.paint(area * (0.85 + 0.25 * fine).clip(0.3, 1), hair_bgr * light)
    for gain in (0.55, 1.35):
        canvas.paint(area * 0.55 * _strokes(canvas, rng, 150), hair_bgr * np.float32(gain) + 8)


def _strokes(canvas: _Canvas, rng: np.random.Generator, count: int) -> FloatArray:
    """Return short hairs (S, S) from 0 to 1 that grow down and away from the mouth."""
    start = rng.uniform((0.12, 0.45), (0.88, 0.95), (count, 2))
    growth = (start - (0.5, 0.6)) * (0.08, 0.04) + (0, 0.02) + rng.normal(0, 0.008, (count, 2))
    ends_px = np.stack([start, start + growth], axis=1) * canvas.size
    drawn = np.zeros((canvas.size, canvas.size), np.uint8)
    cv2.polylines(drawn, list((ends_px * 16).astype(np.int32)), False, 255, 1, cv2.LINE_AA, 4)  # 4 bits below the point
    return drawn.astype(np.float32) / np.float32(255)


def _cup(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A cup or a glass at the lips, mostly in a hand."""
    radius, height, is_glass = rng.uniform(0.11, 0.16), rng.uniform(0.3, 0.45), rng.random() < 0.3
    down, across = canvas.turned((rng.uniform(0.45, 0.55), rng.uniform(0.63, 0.71)), -_UP + rng.uniform(-0.1, 0.45))
    walls = abs(across) - radius * (1 - rng.uniform(0, 0.6) * down.clip(0, 1))
    rim = _length(across, down * 3.5) - radius
    outside = np.minimum(np.maximum(walls, abs(down - height / 2) - height / 2), rim)
    bgr, opacity = _plain_colour(rng), 0.35 if is_glass else 1
    shine = (1 - abs(across / radius - rng.uniform(-0.5, 0.5)) * 3).clip(0, 1)
    shade = 0.95 - 0.45 * (across / radius) ** 2 + 0.25 * shine
    canvas.darken(canvas.inside(outside - 0.015, 0.05), 0.3)
    canvas.paint(opacity * canvas.inside(outside), bgr * shade + 60 * is_glass * shine)
    canvas.paint(0.8 * canvas.inside(abs(rim) - 0.01), bgr * 0.6 + 60)
    canvas.paint(0.8 * opacity * canvas.inside(rim + 0.015), bgr * 0.35)
    if rng.random() < 0.6:
        _fingers(canvas, rng, (rng.uniform(0.5, 0.6), rng.uniform(0.9, 0.98)), rng.uniform(-0.3, 0.1), most=3)


def _phone(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A telephone that somebody speaks into: narrower than the jaw, unlike a mask."""
    _slab(canvas, rng, (rng.uniform(0.38, 0.55), rng.uniform(0.95, 1.04)), -_UP + rng.uniform(-0.6, 0.6))


def _phone_at_the_side(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A telephone at the ear."""
    _slab(canvas, rng, (rng.uniform(0.02, 0.1), rng.uniform(0.45, 0.75)), -_UP + rng.uniform(-0.15, 0.15))


def _slab(canvas: _Canvas, rng: np.random.Generator, place_xy: tuple[float, float], angle: float) -> None:
    along, across = canvas.turned(place_xy, angle)
    length, width, corner = rng.uniform(0.3, 0.38), rng.uniform(0.13, 0.17), rng.uniform(0.015, 0.04)
    beyond = (abs(along) - length + corner).clip(0, None), (abs(across) - width + corner).clip(0, None)
    distance = _length(*beyond) - corner
    bgr = _plain_colour(rng) if rng.random() < 0.4 else _colour((30, 28, 28))
    canvas.darken(canvas.inside(distance - 0.015, 0.05), 0.3)
    canvas.paint(canvas.inside(distance), bgr * 0.6 + 25)
    canvas.paint(canvas.inside(distance + 0.012), bgr * (1 + 0.5 * along + 0.4 * canvas.inside(along - across, 0.1)))
    for step in range(int(rng.integers(1, 4))):
        lens = _length(along + length - 0.055 - 0.055 * step, across + width - 0.05) - 0.021
        canvas.paint(canvas.inside(lens), _colour((12, 10, 10)))
    if rng.random() < 0.6:
        tips_xy = (place_xy[0] + rng.uniform(-0.05, 0.05), min(place_xy[1] + rng.uniform(0.1, 0.2), 0.93))
        _fingers(canvas, rng, tips_xy, rng.uniform(-0.6, 0.2), most=3)


def _microphone(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A microphone at the mouth."""
    _ball(canvas, rng, (rng.uniform(0.4, 0.56), rng.uniform(0.71, 0.82)))


def _microphone_at_the_side(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A microphone that hides a corner."""
    _ball(canvas, rng, (rng.uniform(0.12, 0.25), rng.uniform(0.75, 0.95)))


def _ball(canvas: _Canvas, rng: np.random.Generator, head_xy: tuple[float, float]) -> None:
    """Draw a microphone with its handle downwards."""
    radius, bgr = rng.uniform(0.07, 0.11), _plain_colour(rng) if rng.random() < 0.3 else _colour([rng.uniform(25, 110)] * 3)
    along, across = canvas.turned(head_xy, rng.uniform(1.5, 2.4))
    handle, ball = np.maximum(abs(across) - radius * 0.55, -along), _length(along, across) - radius
    canvas.darken(canvas.inside(np.minimum(ball, handle) - 0.015, 0.05), 0.35)
    canvas.paint(canvas.inside(handle), 35 + 60 * (1 - (across / radius / 0.6) ** 2) + _colour((0, 0, 0)))
    light = 1.3 - 0.4 * ((along / radius + 0.3) ** 2 + (across / radius + 0.3) ** 2)
    mesh = 1 + 0.3 * np.sin(along * 150) * np.sin(across * 150)
    canvas.paint(canvas.inside(ball), bgr * (light * mesh).clip(0.2, 1.8))
    canvas.paint(canvas.inside(np.maximum(abs(along - radius * 0.75) - 0.015, abs(across) - radius * 0.75)), bgr * 0.5 + 40)


def _scarf(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A scarf or a collar around the neck, up to the lips at most."""
    sag = rng.uniform(-0.5, 0.3)
    top = rng.uniform(0.68, 0.86) + sag * (canvas.row - 0.5) ** 2 + 0.012 * canvas.wave(rng, 5)
    depth = top.clip(0.65, None) - canvas.y
    down, across = canvas.turned((0.5, 1.1), rng.uniform(1.2, 1.9))
    bend = down + 0.8 * np.sign(sag) * (canvas.x - 0.5) ** 2 + 0.012 * canvas.noise(rng, 4, 4)
    folds = 1 + 0.22 * np.sin(bend * rng.uniform(25, 45) + rng.uniform(0, 6))
    knit = 0.08 * canvas.noise(rng, canvas.size // 2, canvas.size // 2)
    first, second, per_side = _plain_colour(rng), _plain_colour(rng), rng.uniform(20, 60)
    stripes = canvas.inside(np.sin(bend * per_side), 0.4)
    checks = (stripes + canvas.inside(np.sin(across * per_side), 0.4)) / 2
    pattern = (stripes, checks, canvas.inside(canvas.noise(rng, 14, 14), 0.8), 0 * stripes)[rng.integers(4)]
    canvas.darken(canvas.inside(depth - 0.015, 0.05), 0.4)
    canvas.paint(canvas.inside(depth), (first + pattern * (second - first)) * (folds + knit))


def _glasses(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Glasses, half of them dark."""
    half_width, half_height, thickness = rng.uniform(0.1, 0.14), rng.uniform(0.065, 0.11), rng.uniform(0.004, 0.012)
    x, y = canvas.turned((0.5 + rng.normal(0, 0.01), EYE_LEVEL + rng.uniform(0, 0.03)), rng.normal(0, 0.04))
    across, down = ((abs(x) - EYE_DISTANCE / 2) / half_width) ** 2, (y / half_height) ** 2
    squared = across + down if rng.random() < 0.4 else _length(across, down)  # round, or nearly square
    lens = np.asarray((np.sqrt(squared) - 1) * half_height, np.float32)
    glare = canvas.inside(abs(x * 0.8 + y - rng.uniform(-0.2, 0.2)) - rng.uniform(0.01, 0.04), 0.03)
    if rng.random() < 0.5:
        fading = 1 + rng.uniform(0, 6) * (y + half_height).clip(0, 1)
        canvas.paint(rng.uniform(0.75, 1) * canvas.inside(lens), _plain_colour(rng) * 0.25 * fading + rng.uniform(0, 90) * glare)
    else:
        canvas.paint(rng.uniform(0, 0.6) * glare * canvas.inside(lens), _colour((250, 245, 240)))
    outer = EYE_DISTANCE / 2 + half_width
    bridge = np.maximum(abs(y + half_height * 0.3) - thickness, abs(x) - EYE_DISTANCE / 2 + half_width)
    temples = np.maximum(abs(y + half_height * 0.4) - thickness, abs(abs(x) - outer - 0.04) - 0.04)
    canvas.paint(canvas.inside(np.minimum(abs(lens) - thickness, np.minimum(bridge, temples))), _plain_colour(rng) * 0.5)


def _cap(canvas: _Canvas, rng: np.random.Generator) -> None:
    """A cap, or a knitted hat."""
    bgr, bottom, is_knitted = _plain_colour(rng), rng.uniform(0.12, 0.25), rng.random() < 0.5
    above = canvas.inside(canvas.y - bottom - rng.uniform(-0.1, 0.4) * (canvas.row - 0.5) ** 2)
    ribs = 0.12 * is_knitted * np.sin(canvas.x * rng.uniform(90, 200))
    cloth = 1 - 0.35 * (2 * canvas.x - 1) ** 2 + ribs + 0.05 * canvas.noise(rng, canvas.size // 2, canvas.size // 2)
    canvas.darken(canvas.inside(canvas.y - bottom - 0.04, 0.06), 0.45)
    canvas.paint(above, bgr * cloth)
    if not is_knitted:
        brim = _length((canvas.x - 0.5) / 4.5, canvas.y - bottom + 0.02) - 0.08
        canvas.darken(canvas.inside(brim - 0.02, 0.06), 0.4)
        canvas.paint(canvas.inside(brim), bgr * (cloth * (0.7 - 2 * (canvas.y - bottom))).clip(0.4, 1))


def _hair(canvas: _Canvas, rng: np.random.Generator) -> None:
    """Hair over the forehead and down the sides."""
    middle, sides = rng.uniform(0.08, 0.3), rng.uniform(0.3, 1.1)
    bottom = canvas.outline((middle, middle, middle, middle + 0.02, middle + 0.05, 0.2 + 0.4 * sides, sides))
    bottom += 0.02 * canvas.wave(rng, 9) + 0.02 * abs(canvas.wave(rng, canvas.size // 4))
    light = 1 + 0.14 * canvas.noise(rng, 4, canvas.size // 2) + 0.14 * canvas.noise(rng, 6, 6)
    canvas.darken(canvas.inside(canvas.y - bottom - 0.02, 0.05), 0.3)
    canvas.paint(canvas.inside(canvas.y - bottom, 0.03), _hair_colour(rng) * light + 6)


def _visor(canvas: _Canvas, rng: np.random.Generator) -> None:
    """The glare and the edges of a face shield or of a helmet's visor."""
    light_bgr = _colour((250, 246, 240)) * np.float32(rng.uniform(0.8, 1))
    haze = np.full((canvas.size, canvas.size), rng.uniform(0, 0.06), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        _, across = canvas.turned((rng.uniform(0, 1), 0.5), rng.uniform(1.1, 2.0))
        haze += rng.uniform(0.1, 0.5) * canvas.inside(abs(across) - rng.uniform(0.01, 0.07), 0.04)
    canvas.paint(haze.clip(0, 0.7), light_bgr)
    bow = canvas.y + 0.25 * (canvas.x - 0.5) ** 2
    canvas.paint(0.6 * canvas.inside(abs(bow - rng.uniform(0.95, 1.1)) - 0.008), light_bgr)
    canvas.paint(0.9 * canvas.inside(bow - rng.uniform(-0.1, 0.15)), _plain_colour(rng))


def _colour(bgr: ArrayLike) -> FloatArray:
    return np.asarray(bgr, np.float32).reshape(3, 1, 1)


def _plain_colour(rng: np.random.Generator) -> FloatArray:
    """Return the colour of a thing that somebody made: half of them are grey."""
    return _colour((rng.uniform(20, 235) + rng.normal(0, 1, 3) * rng.choice((4, 45))).clip(10, 245))


def _hair_colour(rng: np.random.Generator) -> FloatArray:
    return _colour(_HAIR_BGR[rng.integers(len(_HAIR_BGR))]) * np.float32(rng.uniform(0.8, 1.2))


def _length(x: FloatArray, y: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(x * x + y * y), np.float32)


_Occluder = Callable[[_Canvas, np.random.Generator], None]
_BEFORE_THE_MOUTH: Final = (_hand, _hand, _beard, _beard, _cup, _phone, _microphone, _scarf)
_AT_THE_SIDE: Final = (_hand_at_the_side, _phone_at_the_side, _microphone_at_the_side)
_ABOVE: Final = (_glasses, _cap, _hair, _visor)

OCCLUDERS: Final[dict[Label, tuple[_Occluder, ...]]] = {
    Label.NO_MASK: _BEFORE_THE_MOUTH + _AT_THE_SIDE + _ABOVE,
    Label.INCORRECT: _AT_THE_SIDE + _ABOVE,  # what hides a mouth hides how the mask is worn
    Label.MASK: _AT_THE_SIDE + _ABOVE,
}
"""What may be before a face of each label; what is named twice is twice as likely."""
