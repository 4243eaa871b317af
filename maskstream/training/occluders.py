"""Things before a face that are no mask, and things around a mask: hands, beards, cups, scarves, glasses, hats.

Lengths and places are in sides of the crop, x to the right and y down, as `vision.align` lays a face into it: the eyes at
0.36, on most faces the tip of the nose at 0.54, the mouth at 0.67, the chin at 0.88. Distances are negative inside a shape.
"""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from maskstream.training.canvas import Canvas, colour, hair_colour, length, moved, plain_colour
from maskstream.types import BgrImage, FloatArray, Label
from maskstream.vision.align import EYE_DISTANCE, EYE_LEVEL

_UP: Final = -math.pi / 2
_DOWN: Final = math.pi / 2


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
    canvas = Canvas(crop_bgr[:, ::step])
    draw(canvas, rng)
    return np.ascontiguousarray(canvas.crop_bgr()[:, ::step])


def _hand(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fingers over mouth and chin, from the side or from below."""
    if rng.random() < 0.6:
        _fingers(canvas, rng, (rng.uniform(0.55, 0.7), rng.uniform(0.70, 0.80)), rng.uniform(-0.5, 0.25), most=4)
    else:
        _fingers(canvas, rng, (rng.uniform(0.4, 0.62), rng.uniform(0.60, 0.72)), _UP + rng.uniform(-0.4, 0.4), most=4)


def _hand_at_the_side(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fingers that touch the cheek or the edge of a mask."""
    _fingers(canvas, rng, (rng.uniform(0.14, 0.25), rng.uniform(0.6, 0.9)), rng.uniform(-1.3, -0.2), most=4)


def _fingers(canvas: Canvas, rng: np.random.Generator, tips_xy: tuple[float, float], angle: float, most: int) -> None:
    """Draw the back of a hand that points along an angle, its fingertips around a place."""
    count, radius = int(rng.integers(2, most + 1)), rng.uniform(0.043, 0.053)
    skin_bgr = canvas.skin_bgr() * colour((0.95, 0.97, 1.02)) * rng.uniform(0.8, 1.1)
    nails = 0.15 if rng.random() < 0.6 else 0
    knuckles_xy, width = moved(tips_xy, angle, -0.4), count * radius
    part = canvas.around(knuckles_xy, moved(tips_xy, angle, -2), width + 0.02)
    ahead, aside = part.turned(knuckles_xy, angle)
    light = 0.92 - 0.25 * (aside / width) ** 2 + 0.04 * part.noise(rng, 5, 5)
    part.fill(length(ahead.clip(0, None), aside) - width, skin_bgr * light)
    for index in rng.permutation(count):
        shift = float(index) - (count - 1) / 2
        behind = 0.035 * shift**2 + rng.uniform(-0.015, 0.015)
        tip_xy = moved(tips_xy, angle, -behind, shift * radius * rng.uniform(1.75, 1.95))
        _finger(canvas, tip_xy, angle + 0.05 * shift + rng.normal(0, 0.03), radius, skin_bgr * rng.uniform(0.96, 1.04), nails)


def _finger(canvas: Canvas, tip_xy: tuple[float, float], angle: float, radius: float, skin_bgr: FloatArray, nail: float) -> None:
    """Draw a finger with a nail that is so much lighter."""
    part = canvas.around(tip_xy, moved(tip_xy, angle, -0.42), radius + 0.04)
    back, across = part.turned(tip_xy, angle + math.pi)
    fading = (1.5 - back * 3.5).clip(0, 1)  # fingers melt into the hand
    rounding = (across / radius).clip(-1, 1)
    bend = back + 0.15 * radius * rounding**2
    crease = (1 - abs(bend - 2.3 * radius) / 0.014).clip(0, 1) + (1 - abs(bend - 5 * radius) / 0.022).clip(0, 1)
    light = 1.04 + 0.1 * math.cos(angle) * rounding - 0.3 * fading * rounding**2 - 0.09 * crease  # it comes from above
    light += nail * part.inside(length(back / 0.8, across) - 0.6 * radius)
    part.fill(length(back - back.clip(0, 0.42), across) - radius, skin_bgr * light, shadow=0.45 * fading)


def _beard(canvas: Canvas, rng: np.random.Generator) -> None:
    """Hair on jaw and upper lip, and mostly on the cheeks, the mouth left free."""
    mouth_y, longer = rng.uniform(0.645, 0.695), rng.uniform(-0.03, 0.06)
    is_full = rng.random() < 0.65
    cheeks = (0.01, -0.05, -0.16, -0.16) if is_full else (0.06, 0.2, 0.2, 0.2)
    top = canvas.outline((-0.075, -0.08, -0.05, *cheeks)) + mouth_y
    bottom = canvas.outline((0.21, 0.20, 0.18, 0.13, 0.05, -0.05, -0.3)) + mouth_y + longer
    ragged = 0.012 * canvas.wave(rng, 20)
    area = canvas.inside(top + ragged - canvas.y, 0.06) * canvas.inside(canvas.y - bottom - ragged, 0.07)
    area *= 1 - canvas.inside(length((canvas.x - 0.5) / 3, canvas.y - mouth_y) - 0.033, 0.025)
    area *= rng.uniform(0.45, 0.95)
    hair_bgr, fine = hair_colour(rng), canvas.grain(rng)
    light = 1 + 0.25 * canvas.noise(rng, 5, 5) + 0.15 * fine
    canvas.paint(area * (0.85 + 0.25 * fine).clip(0.3, 1), hair_bgr * light)
    for gain in (0.55, 1.35):
        canvas.paint(area * 0.55 * canvas.strokes(rng, 150), hair_bgr * gain + 8)


def _cup(canvas: Canvas, rng: np.random.Generator) -> None:
    """A cup or a glass at the lips, mostly in a hand."""
    radius, height, is_glass = rng.uniform(0.11, 0.16), rng.uniform(0.3, 0.45), rng.random() < 0.3
    down, across = canvas.turned((rng.uniform(0.45, 0.55), rng.uniform(0.63, 0.71)), _DOWN + rng.uniform(-0.1, 0.45))
    walls = abs(across) - radius * (1 - rng.uniform(0, 0.6) * down.clip(0, 1))
    rim = length(across, down * 3.5) - radius
    outside = np.minimum(np.maximum(walls, abs(down - height / 2) - height / 2), rim)
    bgr, opacity = plain_colour(rng), 0.35 if is_glass else 1
    shine = (1 - abs(across / radius - rng.uniform(-0.5, 0.5)) * 3).clip(0, 1)
    shade = 0.95 - 0.45 * (across / radius) ** 2 + 0.25 * shine
    canvas.fill(outside, bgr * shade + 60 * is_glass * shine, opacity, shadow=0.25)
    canvas.fill(abs(rim) - 0.01, bgr * 0.6 + 60, 0.8)
    canvas.fill(rim + 0.015, bgr * 0.35, 0.8 * opacity)
    if rng.random() < 0.6:
        _fingers(canvas, rng, (rng.uniform(0.5, 0.6), rng.uniform(0.9, 0.98)), rng.uniform(-0.3, 0.1), most=3)


def _phone(canvas: Canvas, rng: np.random.Generator) -> None:
    """A telephone that somebody speaks into: narrower than the jaw, unlike a mask."""
    _slab(canvas, rng, (rng.uniform(0.38, 0.55), rng.uniform(0.95, 1.04)), rng.uniform(-0.6, 0.6))


def _phone_at_the_side(canvas: Canvas, rng: np.random.Generator) -> None:
    """A telephone at the ear."""
    _slab(canvas, rng, (rng.uniform(0.02, 0.1), rng.uniform(0.45, 0.75)), rng.uniform(-0.15, 0.15))


def _slab(canvas: Canvas, rng: np.random.Generator, place_xy: tuple[float, float], tilt: float) -> None:
    along, across = canvas.turned(place_xy, _DOWN + tilt)
    half_length, half_width, corner = rng.uniform(0.3, 0.38), rng.uniform(0.13, 0.17), rng.uniform(0.015, 0.04)
    beyond = (abs(along) - half_length + corner).clip(0, None), (abs(across) - half_width + corner).clip(0, None)
    distance = length(*beyond) - corner
    bgr = plain_colour(rng) if rng.random() < 0.4 else colour((30, 28, 28))
    canvas.fill(distance, bgr * 0.6 + 25, shadow=0.25)
    canvas.fill(distance + 0.012, bgr * (1 + 0.5 * along + 0.4 * canvas.inside(along - across, 0.1)))
    for step in range(int(rng.integers(1, 4))):
        lens = length(along + half_length - 0.055 - 0.055 * step, across + half_width - 0.05) - 0.021
        canvas.fill(lens, colour((12, 10, 10)))
    if rng.random() < 0.6:
        tips_xy = (place_xy[0] + rng.uniform(-0.05, 0.05), min(place_xy[1] + rng.uniform(0.1, 0.2), 0.93))
        _fingers(canvas, rng, tips_xy, rng.uniform(-0.6, 0.2), most=3)


def _microphone(canvas: Canvas, rng: np.random.Generator) -> None:
    """A microphone at the mouth."""
    _ball(canvas, rng, (rng.uniform(0.4, 0.56), rng.uniform(0.71, 0.82)))


def _microphone_at_the_side(canvas: Canvas, rng: np.random.Generator) -> None:
    """A microphone that hides a corner."""
    _ball(canvas, rng, (rng.uniform(0.12, 0.25), rng.uniform(0.75, 0.95)))


def _ball(canvas: Canvas, rng: np.random.Generator, head_xy: tuple[float, float]) -> None:
    """Draw a microphone with its handle downwards."""
    radius, bgr = rng.uniform(0.07, 0.11), plain_colour(rng) if rng.random() < 0.3 else colour([rng.uniform(25, 110)] * 3)
    along, across = canvas.turned(head_xy, rng.uniform(1.5, 2.4))
    handle, ball = np.maximum(abs(across) - radius * 0.55, -along), length(along, across) - radius
    canvas.fill(handle, 95 - 60 * (across / radius / 0.6) ** 2, shadow=0.3)
    light = 1.3 - 0.4 * ((along / radius + 0.3) ** 2 + (across / radius + 0.3) ** 2)
    mesh = 1 + 0.3 * np.sin(along * 150) * np.sin(across * 150)
    canvas.fill(ball, bgr * (light * mesh).clip(0.2, 1.8), shadow=0.3)
    canvas.fill(np.maximum(abs(along - radius * 0.75) - 0.015, abs(across) - radius * 0.75), bgr * 0.5 + 40)


def _scarf(canvas: Canvas, rng: np.random.Generator) -> None:
    """A scarf or a collar around the neck, up to the lips at most."""
    sag = rng.uniform(-0.5, 0.3)
    top = rng.uniform(0.68, 0.86) + sag * (canvas.x - 0.5) ** 2 + 0.012 * canvas.wave(rng, 5)
    depth = top.clip(0.65, None) - canvas.y
    down, across = canvas.turned((0.5, 1.1), rng.uniform(1.2, 1.9))
    bend = down + math.copysign(0.8, sag) * (canvas.x - 0.5) ** 2 + 0.012 * canvas.noise(rng, 4, 4)
    folds = 1 + 0.22 * np.sin(bend * rng.uniform(25, 45) + rng.uniform(0, 6))
    knit = 0.08 * canvas.grain(rng)
    first, second, per_side = plain_colour(rng), plain_colour(rng), rng.uniform(20, 60)
    stripes = canvas.inside(np.sin(bend * per_side), 0.4)
    checks = (stripes + canvas.inside(np.sin(across * per_side), 0.4)) / 2
    pattern = (stripes, checks, canvas.inside(canvas.noise(rng, 14, 14), 0.8), 0 * stripes)[rng.integers(4)]
    canvas.fill(depth, (first + pattern * (second - first)) * (folds + knit), shadow=0.33)


def _glasses(canvas: Canvas, rng: np.random.Generator) -> None:
    """Glasses, half of them dark."""
    half_width, half_height, thickness = rng.uniform(0.1, 0.14), rng.uniform(0.065, 0.11), rng.uniform(0.004, 0.012)
    x, y = canvas.turned((0.5 + rng.normal(0, 0.01), EYE_LEVEL + rng.uniform(0, 0.03)), rng.normal(0, 0.04))
    across, down = ((abs(x) - EYE_DISTANCE / 2) / half_width) ** 2, (y / half_height) ** 2
    squared = across + down if rng.random() < 0.4 else length(across, down)  # round, or nearly square
    lens = (np.sqrt(squared) - 1) * half_height
    glare = canvas.inside(abs(x * 0.8 + y - rng.uniform(-0.2, 0.2)) - rng.uniform(0.01, 0.04), 0.03)
    if rng.random() < 0.5:
        fading = 1 + rng.uniform(0, 6) * (y + half_height).clip(0, 1)
        opacity = rng.uniform(0.75, 1)
        canvas.fill(lens, plain_colour(rng) * 0.25 * fading + rng.uniform(0, 90) * glare, opacity)
    else:
        canvas.paint(rng.uniform(0, 0.6) * glare * canvas.inside(lens), colour((250, 245, 240)))
    outer = EYE_DISTANCE / 2 + half_width
    bridge = np.maximum(abs(y + half_height * 0.3) - thickness, abs(x) - EYE_DISTANCE / 2 + half_width)
    temples = np.maximum(abs(y + half_height * 0.4) - thickness, abs(abs(x) - outer - 0.04) - 0.04)
    canvas.fill(np.minimum(abs(lens) - thickness, np.minimum(bridge, temples)), plain_colour(rng) * 0.5)


def _cap(canvas: Canvas, rng: np.random.Generator) -> None:
    """A cap, or a knitted hat."""
    bgr, bottom, is_knitted = plain_colour(rng), rng.uniform(0.12, 0.25), rng.random() < 0.5
    edge = canvas.y - bottom
    crown = edge - rng.uniform(-0.1, 0.4) * (canvas.x - 0.5) ** 2
    ribs = 0.12 * is_knitted * np.sin(canvas.x * rng.uniform(90, 200))
    cloth = 1 - 0.35 * (2 * canvas.x - 1) ** 2 + ribs + 0.05 * canvas.grain(rng)
    canvas.fill(crown, bgr * cloth, shadow=0.45)
    if not is_knitted:
        brim = length((canvas.x - 0.5) / 4.5, edge + 0.02) - 0.08
        canvas.fill(brim, bgr * (cloth * (0.7 - 2 * edge)).clip(0.4, 1), shadow=0.33)


def _hair(canvas: Canvas, rng: np.random.Generator) -> None:
    """Hair over the forehead and down the sides."""
    middle, sides = rng.uniform(0.08, 0.3), rng.uniform(0.3, 1.1)
    bottom = canvas.outline((middle, middle, middle, middle + 0.02, middle + 0.05, 0.2 + 0.4 * sides, sides))
    bottom += 0.02 * canvas.wave(rng, 9) + 0.02 * abs(canvas.wave(rng, canvas.size_px // 4))
    light = 1 + 0.14 * canvas.noise(rng, 4, canvas.size_px // 2) + 0.14 * canvas.noise(rng, 6, 6)
    canvas.fill(canvas.y - bottom, hair_colour(rng) * light + 6, shadow=0.25, softness=0.03)


def _visor(canvas: Canvas, rng: np.random.Generator) -> None:
    """The glare and the edges of a face shield or of a helmet's visor."""
    light_bgr = colour((250, 246, 240)) * rng.uniform(0.8, 1)
    haze = np.full((canvas.size_px, canvas.size_px), rng.uniform(0, 0.06), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        _, across = canvas.turned((rng.uniform(0, 1), 0.5), rng.uniform(1.1, 2.0))
        haze += rng.uniform(0.1, 0.5) * canvas.inside(abs(across) - rng.uniform(0.01, 0.07), 0.04)
    canvas.paint(haze.clip(0, 0.7), light_bgr)
    bow = canvas.y + 0.25 * (canvas.x - 0.5) ** 2
    canvas.fill(abs(bow - rng.uniform(0.95, 1.1)) - 0.008, light_bgr, 0.6)
    canvas.fill(bow - rng.uniform(-0.1, 0.15), plain_colour(rng), 0.9)


_Occluder = Callable[[Canvas, np.random.Generator], None]
_BEFORE_THE_MOUTH: Final = (_hand, _hand, _beard, _beard, _cup, _phone, _microphone, _scarf)
_AT_THE_SIDE: Final = (_hand_at_the_side, _phone_at_the_side, _microphone_at_the_side)
_ABOVE: Final = (_glasses, _cap, _hair, _visor)

OCCLUDERS: Final[dict[Label, tuple[_Occluder, ...]]] = {
    Label.NO_MASK: _BEFORE_THE_MOUTH + _AT_THE_SIDE + _ABOVE,
    Label.INCORRECT: _AT_THE_SIDE + _ABOVE,  # what hides a mouth hides how the mask is worn
    Label.MASK: _AT_THE_SIDE + _ABOVE,
}
"""What may be before a face of each label; what is named twice is twice as likely."""
