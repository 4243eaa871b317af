"""Build the square training windows of the detector from one labelled image, or from four as a mosaic.

Each image is scaled, rotated, mirrored and shifted, and its labels with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from maskstream.annotations import LabelledFace, LabelledImage
from maskstream.training.photometric import photometric
from maskstream.training.recipe import DetectorRecipe
from maskstream.types import FACE_KEYPOINTS, BgrImage, FloatArray
from maskstream.vision.align import PADDING_BGR

_MIRRORED = [FACE_KEYPOINTS.index(name) for name in ("nose", "right_eye", "left_eye")]
_SCALE_AT_ZOOM_1 = 1.2
"""Short side of the scaled image divided by that of its cell at zoom 1: 384 px in a window of 320 px."""
_MAX_SCALE = 4.0
_MIN_FRACTION_OF_CELL = 0.3
"""Short side of a scaled image, as a fraction of that of its cell."""
_MIN_SIDE_PX = 5
"""A face with a shorter side is ignored: neither positive nor negative."""
_MIN_VISIBLE = 0.45
"""Fraction of a face that must be inside the cell; otherwise the face is ignored."""
_ALIASES_BELOW = 0.6
"""Scale below which linear interpolation causes aliasing."""
_MIN_FACE_PX = 12.0
_MAX_FACE = 0.9
"""Largest face, as a fraction of the cell's short side."""
_BACKGROUND_PROBABILITY = 0.8
"""How often the free area of a cell shows another image, instead of one colour."""


@dataclass(frozen=True, eq=False)
class Window:
    """A training image and its N faces."""

    bgr: BgrImage
    """(S, S, 3) uint8."""
    boxes_xyxy: FloatArray
    """(N, 4) pixels of the window."""
    counts: FloatArray
    """(N,) 1 for a face, 0 for an ignored one, which is neither positive nor negative."""
    keypoints: FloatArray
    """(N, 3, 3) x, y, and 1 where the keypoint is labelled and inside the window, otherwise 0."""


Float64Array = NDArray[np.float64]
Labels = tuple[FloatArray, FloatArray, FloatArray]
"""Boxes, counts and keypoints as in `Window`."""


def make_window(
    images: Sequence[LabelledImage],
    backgrounds: Sequence[LabelledImage],
    recipe: DetectorRecipe,
    size_px: int,
    rng: np.random.Generator,
) -> Window:
    """Build one window.

    Args:
        images: One image, or four for a mosaic.
        backgrounds: Images without faces that fill the free area of a cell; may be empty.
        recipe: See configs/train_detector.yaml.
        size_px: Side of the window.
        rng: The only source of randomness.

    Raises:
        SourceError: An image cannot be read.
    """
    canvas = np.empty((size_px, size_px, 3), np.uint8)
    parts: list[Labels] = []
    cells = [(0, 0, size_px, size_px)]  # x1, y1, x2, y2 of the part of the window that an image fills
    if len(images) > 1:
        x, y = (int(size_px * rng.uniform(0.35, 0.65)) for _ in range(2))
        cells = [(0, 0, x, y), (x, 0, size_px, y), (0, y, x, size_px), (x, y, size_px, size_px)]
    for (x1, y1, x2, y2), image in zip(cells, images, strict=True):
        size = (x2 - x1, y2 - y1)
        behind = None
        if backgrounds and rng.random() < _BACKGROUND_PROBABILITY:
            behind = backgrounds[int(rng.integers(len(backgrounds)))]
        patch = _background_patch(size, behind, rng)
        matrix, is_mirrored = _random_transform(image, size, recipe, rng)
        _draw(image.read(), matrix, patch, rng)
        boxes, counts, keypoints = _transform_labels(image.faces, matrix, is_mirrored, size)
        _hide_parts(patch, boxes, recipe.hidden_share, rng)
        canvas[y1:y2, x1:x2] = patch
        shift = np.array([x1, y1, 0], np.float32)
        parts.append((boxes + np.tile(shift[:2], 2), counts, keypoints + shift))
    boxes = np.concatenate([part[0] for part in parts])
    counts = np.concatenate([part[1] for part in parts])
    keypoints = np.concatenate([part[2] for part in parts])
    return Window(photometric(canvas, rng, recipe.photometric, recipe.dark_share), boxes, counts, keypoints)


def _background_patch(size: tuple[int, int], behind: LabelledImage | None, rng: np.random.Generator) -> BgrImage:
    """Return the pixels of a cell before an image is drawn: one colour, or a part of an image without faces."""
    width, height = size
    if behind is None:
        return np.full((height, width, 3), PADDING_BGR, np.uint8)
    pixels = behind.read()
    scale = max(width / pixels.shape[1], height / pixels.shape[0])
    enlarged = cv2.resize(pixels, (int(np.ceil(pixels.shape[1] * scale)), int(np.ceil(pixels.shape[0] * scale))))
    x = int(rng.integers(enlarged.shape[1] - width + 1))
    y = int(rng.integers(enlarged.shape[0] - height + 1))
    return np.ascontiguousarray(enlarged[y : y + height, x : x + width])


def _random_transform(
    image: LabelledImage, size: tuple[int, int], recipe: DetectorRecipe, rng: np.random.Generator
) -> tuple[FloatArray, bool]:
    """Return the matrix (2, 3) from image to cell coordinates, and whether it mirrors."""
    cell, full_size = np.array(size, np.float64), np.array([image.width, image.height], np.float64)
    face = image.faces[rng.integers(len(image.faces))].box_xyxy.astype(np.float64) if image.faces else None
    scale = _scale(face, cell, full_size, recipe, rng)
    is_mirrored = bool(rng.random() < 0.5)
    focus = (face[:2] + face[2:]) / 2 if face is not None and rng.random() < 0.75 else full_size * rng.uniform(0, 1, 2)
    if is_mirrored:
        focus[0] = full_size[0] - focus[0]
    corner = cell * rng.uniform(0.15, 0.85, 2) - scale * focus
    slack = cell - scale * full_size  # negative where the image is larger than its cell; then it fills the cell
    corner = np.where(slack < 0, corner.clip(slack, 0), slack * rng.uniform(0, 1, 2))
    if face is not None and rng.random() < recipe.edge_share:
        corner = _cut_by_edge(corner, scale * _mirrored(face, full_size[0], is_mirrored), cell, rng)
    mirror = np.array([[-1.0, 0, full_size[0]], [0, 1, 0]]) if is_mirrored else np.array([[1.0, 0, 0], [0, 1, 0]])
    matrix = scale * mirror
    matrix[:, 2] += corner
    if rng.random() < recipe.large_turn_share:
        angle_deg = rng.uniform(-180, 180) if rng.random() < 0.25 else rng.uniform(-60, 60)
    else:
        angle_deg = rng.normal(0, recipe.turn_deg)
    turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), float(angle_deg), 1.0)
    matrix = turn[:, :2] @ matrix
    matrix[:, 2] += turn[:, 2]
    squeeze = np.exp(rng.uniform(*np.log(recipe.squeeze)))
    matrix[1] *= squeeze
    matrix[1, 2] += (1 - squeeze) * size[1] / 2
    return np.asarray(matrix, np.float32), is_mirrored


def _mirrored(box_xyxy: Float64Array, width: float, is_mirrored: bool) -> Float64Array:
    return np.array([width - box_xyxy[2], box_xyxy[1], width - box_xyxy[0], box_xyxy[3]]) if is_mirrored else box_xyxy


def _cut_by_edge(corner: Float64Array, box_xyxy: Float64Array, cell: Float64Array, rng: np.random.Generator) -> Float64Array:
    """Return the corner of an image that is shifted so that one edge of its cell cuts 5 to 55 % of a face off.

    Args:
        corner: (2,) position of the image's corner in its cell.
        box_xyxy: (4,) the face, relative to that corner.
        cell: (2,) width and height.
        rng: The source of randomness.
    """
    axis, cut = int(rng.integers(2)), rng.uniform(0.05, 0.55)
    low, high = box_xyxy[axis], box_xyxy[axis + 2]
    edge, position = (0.0, low + cut * (high - low)) if rng.random() < 0.5 else (cell[axis], high - cut * (high - low))
    shifted = corner.copy()
    shifted[axis] = edge - position
    return shifted


def _scale(
    face: Float64Array | None, cell: Float64Array, full_size: Float64Array, recipe: DetectorRecipe, rng: np.random.Generator
) -> float:
    if face is not None and rng.random() < recipe.by_face_share:
        side_px = np.exp(rng.uniform(np.log(_MIN_FACE_PX), np.log(_MAX_FACE * cell.min())))
        min_scale = _MIN_FRACTION_OF_CELL * cell.min() / full_size.min()
        return float(max(min(side_px / max((face[2:] - face[:2]).max(), 1), _MAX_SCALE), min_scale))
    zoom = np.exp(rng.uniform(*np.log(recipe.zoom if face is not None else recipe.zoom_without_faces)))
    return float(zoom * _SCALE_AT_ZOOM_1 * cell.min() / full_size.min())


def _draw(pixels: BgrImage, matrix: FloatArray, patch: BgrImage, rng: np.random.Generator) -> None:
    """Resample an image into its cell. Half of the strongly reduced images alias, as in inference."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    matrix = matrix.copy()
    if scale < _ALIASES_BELOW and rng.random() < 0.5:
        height, width = pixels.shape[:2]
        pixels = np.asarray(cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
        matrix[:, :2] *= np.array([width / pixels.shape[1], height / pixels.shape[0]], np.float32)
    # warpAffine leaves out half a pixel along the edge
    pixels = np.asarray(cv2.copyMakeBorder(pixels, 1, 1, 1, 1, cv2.BORDER_REPLICATE), np.uint8)
    matrix[:, 2] += matrix[:, :2] @ np.full(2, -0.5, np.float32) - 0.5  # cv2 counts from pixel centres
    size = (patch.shape[1], patch.shape[0])
    cv2.warpAffine(pixels, matrix, size, patch, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_TRANSPARENT)


def _transform_labels(faces: Sequence[LabelledFace], matrix: FloatArray, is_mirrored: bool, size: tuple[int, int]) -> Labels:
    """Return the labels in cell coordinates. The box of a rotated face is that of the ellipse in its labelled box."""
    boxes, counts, keypoints = [], [], []
    cell = np.array([*size, *size], np.float32)
    for face in faces:
        middle = matrix[:, :2] @ ((face.box_xyxy[:2] + face.box_xyxy[2:]) / 2) + matrix[:, 2]
        reach = np.sqrt((matrix[:, :2] ** 2) @ (((face.box_xyxy[2:] - face.box_xyxy[:2]) / 2) ** 2))
        box = np.concatenate([middle - reach, middle + reach])
        clipped = box.clip(0, cell)
        sides = clipped[2:] - clipped[:2]
        if sides.min() < 1:
            continue
        is_visible = sides.min() >= _MIN_SIDE_PX and sides.prod() >= _MIN_VISIBLE * (box[2:] - box[:2]).prod()
        boxes.append(clipped)
        counts.append(float(is_visible and not face.ignore))
        keypoints.append(_transform_keypoints(face.keypoints_xy, matrix, is_mirrored, size))
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(counts, np.float32),
        np.array(keypoints, np.float32).reshape(-1, len(FACE_KEYPOINTS), 3),
    )


def _transform_keypoints(
    points_xy: FloatArray | None, matrix: FloatArray, is_mirrored: bool, size: tuple[int, int]
) -> FloatArray:
    if points_xy is None:
        return np.zeros((len(FACE_KEYPOINTS), 3), np.float32)
    moved = points_xy @ matrix[:, :2].T + matrix[:, 2]
    is_inside = ((moved >= 0) & (moved < np.array(size))).all(axis=1)
    points = np.column_stack([moved, is_inside]).astype(np.float32)
    return points[_MIRRORED] if is_mirrored else points


def _hide_parts(patch: BgrImage, boxes_xyxy: FloatArray, share: float, rng: np.random.Generator) -> None:
    """Cover a part of some faces with one colour or another part of the cell, as hands, heads and plants do in images."""
    height, width = patch.shape[:2]
    for box in boxes_xyxy[rng.random(len(boxes_xyxy)) < share]:
        sides = (box[2:] - box[:2]) * rng.uniform(0.3, 0.6, 2)
        x1, y1 = (box[:2] + rng.uniform(0, 1, 2) * (box[2:] - box[:2]) - sides / 2).clip(0).astype(int)
        x2, y2 = min(x1 + int(sides[0]), width), min(y1 + int(sides[1]), height)
        if x2 <= x1 or y2 <= y1:
            continue
        x, y = int(rng.integers(width - (x2 - x1) + 1)), int(rng.integers(height - (y2 - y1) + 1))
        piece = patch[y : y + y2 - y1, x : x + x2 - x1].copy()
        patch[y1:y2, x1:x2] = piece if rng.random() < 0.5 else rng.integers(0, 256, 3)
