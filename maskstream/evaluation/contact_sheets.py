"""Draw contact sheets: the worst errors of each kind, cut out of their images, with labelled and predicted boxes.

Predicted boxes have the colours of the overlay.
"""

from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from maskstream.errors import SinkError, SourceError
from maskstream.evaluation.error_analysis import Mistake, MistakeKind
from maskstream.io.files import one_line
from maskstream.io.images import write_image
from maskstream.rendering.palette import COLOURS_BGR, LABEL_TEXT
from maskstream.rendering.text import draw_text, text_width
from maskstream.types import BgrImage, FloatArray, Label

Bgr = tuple[int, int, int]

TITLES: Final = {
    MistakeKind.FALSE_MASK: "No mask classified as mask",
    MistakeKind.FALSE_NO_MASK: "Mask classified as no mask",
    MistakeKind.MISSED: "Missed faces",
    MistakeKind.FALSE_FACE: "False positives",
}
TILE_PX: Final = 240
GAP_PX: Final = 10
HEADER_PX: Final = 44
CAPTION_PX: Final = 58
COLUMNS: Final = 5
MOST_TILES: Final = 20
_MARGIN: Final = 0.6  # of the box's longer side, on each side
_LEAST_CROP_PX: Final = 8.0
_PAPER: Final[Bgr] = (255, 255, 255)
_OUTSIDE: Final[Bgr] = (96, 96, 96)
_BLACK: Final[Bgr] = (0, 0, 0)
_DASH_PX: Final = 5
_INK: Final = "#222222"
_INK_BGR: Final[Bgr] = (0x22, 0x22, 0x22)
_NAME_PX: Final = 9.0
"""Height of a capital letter in names that are not ASCII."""


def write_sheets(
    mistakes: Sequence[Mistake], read: Callable[[str], BgrImage], folder: Path, most: int = MOST_TILES
) -> dict[MistakeKind, Path]:
    """Write a sheet for each kind of error that occurs; remove the sheet of an earlier run for the other kinds.

    Args:
        mistakes: Errors of all kinds, in any order.
        read: Returns the pixels (BGR) of an image by its name; raises `SourceError` if it cannot be read any more.
        folder: Existing folder for `false_mask.jpg` and the other sheets.
        most: Maximum number of tiles on a sheet, the worst errors first.

    Returns:
        The sheets by kind.

    Raises:
        SinkError: A sheet cannot be written or removed.
    """
    sheets = {}
    for kind in MistakeKind:
        path, of_kind = folder / f"{kind.value}.jpg", [mistake for mistake in mistakes if mistake.kind is kind]
        if of_kind:
            write_image(path, sheet(of_kind, read, most))
            sheets[kind] = path
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise SinkError(f"{one_line(str(path))}: cannot be removed: {error.strerror}; choose another folder") from error
    return sheets


def sheet(of_kind: Sequence[Mistake], read: Callable[[str], BgrImage], most: int = MOST_TILES) -> BgrImage:
    """Return the sheet of the worst errors of one kind, (H, W, 3) uint8, BGR."""
    worst = sorted(of_kind, key=lambda mistake: -mistake.badness)[:most]
    rows = ceil(len(worst) / COLUMNS)
    width, height = COLUMNS * (TILE_PX + GAP_PX) + GAP_PX, HEADER_PX + rows * (TILE_PX + CAPTION_PX + GAP_PX)
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    for index, tile in _tiles(worst, read):
        x, y = place(index)
        canvas[y : y + TILE_PX, x : x + TILE_PX] = tile
    return _with_text(canvas, worst, len(of_kind))


def place(index: int) -> tuple[int, int]:
    """Return x and y of a tile's upper left corner on its sheet."""
    row, column = divmod(index, COLUMNS)
    return GAP_PX + column * (TILE_PX + GAP_PX), HEADER_PX + row * (TILE_PX + CAPTION_PX + GAP_PX)


def _tiles(mistakes: Sequence[Mistake], read: Callable[[str], BgrImage]) -> Iterator[tuple[int, BgrImage]]:
    """Yield the number and the tile of each error. The errors of one image come together, so that it is read once."""
    for name in dict.fromkeys(mistake.name for mistake in mistakes):
        try:
            bgr = read(name)
        except SourceError:
            bgr = None
        for index, mistake in enumerate(mistakes):
            if mistake.name == name:
                yield index, _unreadable() if bgr is None else face_tile(bgr, mistake)


def face_tile(bgr: BgrImage, mistake: Mistake) -> BgrImage:
    """Return the part of the image around an error, (TILE_PX, TILE_PX, 3) uint8, BGR, with the labelled and the predicted box.

    A missed face is drawn with the false positive that overlaps it, in grey; a false positive with the missed face.

    Args:
        bgr: The complete image, (H, W, 3) uint8; it is not modified.
        mistake: The error; its boxes are in pixels of this image.
    """
    found = mistake.prediction
    labelled = mistake.label_box_xyxy if found is None or mistake.label_box_xyxy is not None else mistake.nearest_box_xyxy
    predicted = mistake.nearest_box_xyxy if found is None else found.box_xyxy
    boxes = np.array([box for box in (mistake.label_box_xyxy, found and found.box_xyxy) if box is not None])
    low, high = boxes[:, :2].min(0), boxes[:, 2:].max(0)
    side = max(float((high - low).max()) * (1 + 2 * _MARGIN), _LEAST_CROP_PX)
    corner = (low + high - side) / 2
    tile, scale = _cut(bgr, corner, side), TILE_PX / side
    if predicted is not None:
        edges = _on_tile(predicted, corner, scale)
        cv2.rectangle(tile, edges[:2], edges[2:], _BLACK, 4)
        cv2.rectangle(tile, edges[:2], edges[2:], COLOURS_BGR[Label.UNKNOWN if found is None else found.label], 2)
    if labelled is not None:
        _dashed(tile, _on_tile(labelled, corner, scale))
    return tile


def _cut(bgr: BgrImage, corner: FloatArray, side: float) -> BgrImage:
    """Return a square of the image as a tile; outside the image it is grey."""
    tile = np.full((TILE_PX, TILE_PX, 3), _OUTSIDE, np.uint8)
    size = np.array(bgr.shape[1::-1])
    x1, y1 = np.clip(np.floor(corner), 0, size).astype(int)
    x2, y2 = np.clip(np.ceil(corner + side), 0, size).astype(int)
    if x2 <= x1 or y2 <= y1:
        return tile
    scale = TILE_PX / side
    to_tile = np.array([[scale, 0, (x1 - corner[0] + 0.5) * scale - 0.5], [0, scale, (y1 - corner[1] + 0.5) * scale - 0.5]])
    part = bgr[y1:y2, x1:x2]
    if scale < 1:  # shrink by area, so that all pixels count, then move to the place on the tile
        shrunk = (max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale)))
        factors = np.divide([x2 - x1, y2 - y1], shrunk)
        part = np.asarray(cv2.resize(part, shrunk, interpolation=cv2.INTER_AREA), np.uint8)
        to_tile = np.column_stack([np.diag(scale * factors), (np.array([x1, y1]) - corner) * scale + (scale * factors - 1) / 2])
    cv2.warpAffine(part, to_tile, (TILE_PX, TILE_PX), tile, cv2.INTER_CUBIC, cv2.BORDER_CONSTANT, _OUTSIDE)
    return tile


def _on_tile(box_xyxy: FloatArray, corner: FloatArray, scale: float) -> list[int]:
    edges = (box_xyxy.reshape(2, 2) - corner) * scale - 0.5
    return [int(edge) for edge in edges.reshape(-1).round()]


def _dashed(tile: BgrImage, edges: list[int]) -> None:
    """Draw a thin box of black and white dashes, visible on any background."""
    x1, y1, x2, y2 = edges
    cv2.rectangle(tile, (x1, y1), (x2, y2), _BLACK, 1)
    for start in range(x1, x2, 2 * _DASH_PX):
        end = min(start + _DASH_PX, x2)
        cv2.line(tile, (start, y1), (end, y1), _PAPER, 1)
        cv2.line(tile, (start, y2), (end, y2), _PAPER, 1)
    for start in range(y1, y2, 2 * _DASH_PX):
        end = min(start + _DASH_PX, y2)
        cv2.line(tile, (x1, start), (x1, end), _PAPER, 1)
        cv2.line(tile, (x2, start), (x2, end), _PAPER, 1)


def _unreadable() -> BgrImage:
    image = Image.new("RGB", (TILE_PX, TILE_PX), "#606060")
    text = "This image\ncannot be read\nany more."
    centre = (TILE_PX / 2, TILE_PX / 2)
    ImageDraw.Draw(image).text(centre, text, "white", ImageFont.load_default(18), anchor="mm", align="center")
    return np.asarray(image)[..., ::-1].copy()


def _with_text(canvas: BgrImage, worst: Sequence[Mistake], count: int) -> BgrImage:
    image = Image.fromarray(canvas[..., ::-1].copy())
    draw = ImageDraw.Draw(image)
    many = f"{len(worst)} of {count:,}, the worst first" if count > len(worst) else f"all {count:,}, the worst first"
    draw.text((GAP_PX, 12), f"{TITLES[worst[0].kind]}: {many}", _INK, ImageFont.load_default(19))
    key = "dashed: labelled     solid: predicted, in the colour of its label; grey: overlaps too little"
    draw.text((image.width - GAP_PX, 16), key, _INK, ImageFont.load_default(14), anchor="ra")
    font = ImageFont.load_default(13)
    beyond_ascii = []
    for index, mistake in enumerate(worst):
        x, y = place(index)
        for line, text in enumerate(caption(mistake)):
            top = y + TILE_PX + 4 + 17 * line
            if text.isascii():
                draw.text((x, top), _fitting(text, font.getlength), _INK, font)
            else:
                beyond_ascii.append((text, (x, top + 12)))
    bgr = np.asarray(image)[..., ::-1].copy()
    for text, origin in beyond_ascii:
        fitting = _fitting(text, lambda part: text_width(part, _NAME_PX))
        draw_text(bgr, fitting, origin, _NAME_PX, _INK_BGR)
    return bgr


def caption(mistake: Mistake) -> tuple[str, str, str]:
    """Return three lines of text below a tile: the image; labelled and predicted class; score, size and overlap."""
    label, found = mistake.label, mistake.prediction
    labelled = "unlabelled" if label is None else f"labelled {LABEL_TEXT[label]}"
    if label is Label.UNKNOWN:
        labelled = "labelled face"
    if found is None:
        predicted, score, other = "not found", "", "false positive"
    else:
        predicted = "no label" if found.label is Label.UNKNOWN else f"classified {LABEL_TEXT[found.label]}"
        predicted += "" if found.confidence is None else f" {found.confidence:.0%}"
        score, other = f"score {found.score:.2f}, ", "missed face"
    near = "" if mistake.nearest_box_xyxy is None else f", near a {other}, IoU {mistake.nearest_iou:.2f}"
    return one_line(mistake.name), f"{labelled}, {predicted}", f"{score}{mistake.size_px:.0f} px{near}"


def _fitting(text: str, width_px: Callable[[str], float]) -> str:
    """Shorten a text in the middle to the width of a tile, so that folder and suffix of a name remain."""
    kept, shown = len(text), text
    while width_px(shown) > TILE_PX:
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[-(kept - kept // 2) :]}"
    return shown
