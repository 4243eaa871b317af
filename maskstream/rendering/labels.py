"""Place the labels of a frame and draw them. Labels neither overlap nor leave the frame.

Each label has two forms: complete (symbol, number, text and percentage) and short (symbol and number). The short form is used if
the complete one has no room. A label without room for either form is left out; the colour of the outline shows the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskstream.rendering.palette import COLOURS_BGR, LABEL_TEXT
from maskstream.rendering.shapes import BLACK, Colour, DrawingScale, draw_lines, fill_rounded
from maskstream.rendering.text import draw_text, text_width
from maskstream.types import BgrImage, Label

# Strokes in a unit square, y down: a tick, a cross, an exclamation mark, a question mark.
_SYMBOLS: Final[dict[Label, list[list[tuple[float, float]]]]] = {
    Label.MASK: [[(0.1, 0.55), (0.4, 0.85), (0.9, 0.15)]],
    Label.NO_MASK: [[(0.15, 0.15), (0.85, 0.85)], [(0.85, 0.15), (0.15, 0.85)]],
    Label.INCORRECT: [[(0.5, 0.05), (0.5, 0.6)], [(0.5, 0.85), (0.5, 0.95)]],
    Label.UNKNOWN: [[(0.1, 0.3), (0.25, 0.05), (0.75, 0.05), (0.9, 0.3), (0.5, 0.55), (0.5, 0.62)], [(0.5, 0.95), (0.5, 1.0)]],
}
_WHITE: Final = (255, 255, 255)
_BRIGHT: Final = 110
"""On a ground with a luminance above this, black text is easier to read than white text."""
_WIDEST_PERCENTAGE: Final = " 100%"
_SETTLED_S: Final = 0.5
"""A label moves to a better side after that side has been better for this time."""
_SMALL_STEP_PX: Final = 1
_SHORT_COST: Final = 1.0
_OTHER_FACE_COST: Final = 10.0
_OWN_FACE_COST: Final = 1.5
_SIDE_COSTS: Final = 0.03 * np.arange(7)
"""A label is above its face where it hides nothing there."""


class Box(NamedTuple):
    """An upright rectangle in pixels, right and bottom excluded."""

    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class LabelText:
    """The content of a label."""

    label: Label
    confidence: float | None
    track_id: int | None

    def lines(self) -> tuple[str, str]:
        """Return the text of the complete and of the short form."""
        number = "" if self.track_id is None else f"#{self.track_id}"
        percentage = "" if self.confidence is None else f" {self.confidence:.0%}"
        return f"{number} {LABEL_TEXT[self.label]}{percentage}".strip(), number

    def sizes(self, scale: DrawingScale) -> list[tuple[int, int]]:
        """Return (width, height) of the complete and of the short form; each percentage of a track has the room of 100%."""
        full, short = self.lines()
        if self.confidence is not None and self.track_id is not None:
            full = full[: full.rindex(" ")] + _WIDEST_PERCENTAGE
        height = round(scale.text + 2 * scale.pad)
        sizes = []
        for line in (full, short):
            width = scale.text + 2 * scale.pad  # of the symbol
            if line:
                width += scale.pad + text_width(line, scale.text, scale.stroke)
            sizes.append((round(width), height))
        return sizes


@dataclass(frozen=True)
class Request:
    """A label to be placed."""

    key: int | None
    """The track. Its label keeps its side from frame to frame."""
    around_xyxy: NDArray[np.floating]
    """(4,) pixels: the upright box around the outline."""
    sizes: Sequence[tuple[int, int]]
    """(width, height) of each form, the preferred one first."""


@dataclass(frozen=True)
class Placement:
    """Where a label is drawn, and in which form."""

    box: Box
    form: int
    side: int


@dataclass
class _Memory:
    """The last place of the label of a track."""

    placement: Placement
    better_since_s: float | None = None

    def has_place(self, other: Placement) -> bool:
        return (other.form, other.side) == (self.placement.form, self.placement.side)

    def stays(self, best: Placement, time_s: float) -> bool:
        """Return whether the label stays on its side, although `best` may be on another one."""
        if self.has_place(best):
            self.better_since_s = None
            return True
        if self.better_since_s is None:
            self.better_since_s = time_s
        return 0 <= time_s - self.better_since_s < _SETTLED_S


@dataclass
class _Scene:
    """The faces and the labels that further labels of a frame must not hide."""

    size: tuple[int, int]
    gap_px: int
    faces: NDArray[np.float64]
    """(N, 4) pixels."""
    occupied: list[Box]

    def options(self, number: int, request: Request, memory: _Memory | None) -> list[tuple[float, Placement]]:
        """Return the places that are free for the label of face `number`, with their costs; the short form only if needed."""
        weights = np.full(len(self.faces), _OTHER_FACE_COST)
        weights[number] = _OWN_FACE_COST
        weights /= np.maximum(np.prod(self.faces[:, 2:] - self.faces[:, :2], axis=1), 1.0)
        options: list[tuple[float, Placement]] = []
        for form, (width, height) in enumerate(request.sizes):
            if width > self.size[0] or height > self.size[1]:
                continue
            boxes = _boxes(self.faces[number], (width, height), self.size, self.gap_px)
            if memory is not None and memory.placement.form == form:
                _settle(boxes[memory.placement.side], memory.placement.box)
            costs = _SHORT_COST * form + _SIDE_COSTS + _shared(boxes, self.faces) @ weights
            free = np.flatnonzero(_shared(boxes, np.array(self.occupied).reshape(-1, 4)).sum(1) == 0)
            options += [(float(costs[side]), Placement(Box(*boxes[side].tolist()), form, side)) for side in free.tolist()]
            is_good = min((cost for cost, _ in options), default=_SHORT_COST) < _SHORT_COST
            if is_good and (memory is None or memory.placement.form <= form):
                break
        return options


class LabelLayout:
    """Places the labels of one source. The label of a track keeps its side as long as there is room."""

    def __init__(self) -> None:
        """Begin without labels."""
        self._memory: dict[int, _Memory] = {}

    def place(
        self, requests: Sequence[Request], size: tuple[int, int], gap_px: int, time_s: float, taken: Sequence[Box] = ()
    ) -> list[Placement | None]:
        """Return a place for each label, in order, None where there is no room. Earlier labels choose first.

        Args:
            requests: In the order of their importance.
            size: (width, height) of the frame.
            gap_px: Distance between an outline and its label.
            time_s: Of the frame.
            taken: Boxes that no label may overlap.
        """
        faces = np.array([request.around_xyxy for request in requests], np.float64).reshape(-1, 4)
        scene = _Scene(size, gap_px, faces, [*taken])
        places: list[Placement | None] = []
        for number, request in enumerate(requests):
            memory = None if request.key is None else self._memory.get(request.key)
            options = scene.options(number, request, memory)
            placement = self._chosen(request.key, options, memory, time_s)
            places.append(placement)
            if placement is not None:
                scene.occupied.append(placement.box)
        keys = {request.key for request in requests}
        self._memory = {key: memory for key, memory in self._memory.items() if key in keys}
        return places

    def _chosen(
        self, key: int | None, options: Sequence[tuple[float, Placement]], memory: _Memory | None, time_s: float
    ) -> Placement | None:
        if not options:
            return None
        best = min(options, key=lambda option: option[0])[1]
        if memory is not None:
            kept = [placement for _, placement in options if memory.has_place(placement)]
            if kept and memory.stays(best, time_s):
                memory.placement = kept[0]
                return kept[0]
        if key is not None:
            self._memory[key] = _Memory(best)
        return best


def _boxes(around: NDArray[np.float64], size: tuple[int, int], frame: tuple[int, int], gap_px: int) -> NDArray[np.int64]:
    """Return the boxes (7, 4) that a label may have, all in the frame: above, below and beside its face, at last on the face."""
    (left, top, right, bottom), (width, height) = np.clip(around, -1e6, 1e6).tolist(), size
    above, below, from_left, from_right = top - gap_px - height, bottom + gap_px, left - gap_px, right + gap_px - width
    corners = np.array(
        [
            (from_left, above),
            (from_right, above),
            (from_left, below),
            (from_right, below),
            (right + gap_px, top),
            (from_left - width, top),
            (left + gap_px, top + gap_px),
        ]
    )
    starts = np.minimum(np.maximum(corners, 0), [frame[0] - width, frame[1] - height]).round().astype(np.int64)
    return np.concatenate([starts, starts + np.array([width, height])], axis=1)


def _settle(box: NDArray[np.int64], before: Box) -> None:
    """Keep the place of the frame before if the label would move by one pixel only: noise moves it by that."""
    moved = np.array(before) - box
    if (moved[:2] == moved[2:]).all() and np.abs(moved).max() <= _SMALL_STEP_PX:
        box[:] = before


def _shared(ones: NDArray[np.number], others: NDArray[np.number]) -> NDArray[np.float64]:
    """Return the area (N, M) that each of N boxes shares with each of M boxes."""
    sides = np.minimum(ones[:, None, 2:], others[:, 2:]) - np.maximum(ones[:, None, :2], others[:, :2])
    return np.asarray(np.maximum(sides, 0).prod(2))


def draw_label(bgr: BgrImage, text: LabelText, placement: Placement, scale: DrawingScale) -> None:
    """Draw a label at its place: a symbol and text on a ground in the colour of the label."""
    box, colour = placement.box, COLOURS_BGR[text.label]
    luminance = float(np.dot(colour, (0.114, 0.587, 0.299)))
    ink = BLACK if luminance > _BRIGHT else _WHITE
    draw_ground(bgr, box, colour, scale)
    x, y = box.left + scale.pad, box.top + scale.pad
    for strokes in _SYMBOLS[text.label]:
        draw_lines(bgr, np.array([x, y]) + np.array(strokes) * scale.text, ink, max(2, round(scale.text / 6)))
    line = text.lines()[placement.form]
    if line:
        origin = (round(x + scale.text + scale.pad), round(y + scale.text))
        draw_text(bgr, line, origin, scale.text, ink, scale.stroke)


def draw_ground(bgr: BgrImage, box: Box, colour: Colour, scale: DrawingScale) -> None:
    """Fill the ground of a label in its box."""
    fill_rounded(bgr, box, max(2, round(scale.pad * 0.6)), colour)
