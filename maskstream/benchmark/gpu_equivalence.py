"""Check that a device gives the results of the CPU: the same faces in the same places with the same labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch

from maskstream.benchmark.gpu_setup import BATCH, LOST, Check, analyse, as_frame, logged_lines, tf32
from maskstream.config.values import Execution
from maskstream.models.face_mobilenet import LONGEST_SIDE
from maskstream.models.gpu_images import DeviceCutter, Uploads
from maskstream.types import Face, FloatArray, Frame, FrameResult
from maskstream.vision.align import cut_faces
from maskstream.vision.geometry import box_iou

_SAME_IOU: Final = 0.5
_CERTAIN: Final = 0.1
"""A face with a score this much above the threshold must be found by both devices; any other may be missing on either."""
_CERTAIN_POINT: Final = 0.3
"""Minimum score of a keypoint that must be in the same place."""
_CROP_PX: Final = 112
_MEAN_GREY: Final = 1.0
_WORST_GREY: Final = 10.0
"""OpenCV interpolates in steps of 1/32 pixel and rounds to bytes: one grey level on average, a few at hard edges."""

MEASURES: Final = ("box_px", "box", "points_px", "points", "score", "probability")
"""Distances between two results for a face: side of its box and certain keypoint, in pixels of the image and in longer sides of
the face; score of the detector; probability of the label, if the labels are equal."""
_COLUMNS: Final = (
    *("what", "passed", "faces", "found", "not_extra", "same_label", "box_px", "worst_box_px", "points_px", "worst_points_px"),
    *("worst_score", "worst_probability"),
)
"""Columns of the printed table."""


@dataclass(frozen=True)
class Tolerance:
    """Allowed differences from the results of the CPU."""

    found: float
    """Minimum fraction of certain faces that both find, in both directions, and of equal labels."""
    box: float
    """Maximum mean distance of a side of a box, in longer sides of the face."""
    points: float
    """Maximum mean distance of a keypoint, in longer sides of the face."""
    score: float
    """Maximum mean difference of the detector's score."""
    probability: float
    """Maximum mean difference of the label's probability."""
    worst: float
    """Maximum of any single difference."""


EXACT: Final = Tolerance(found=0.99, box=0.001, points=0.001, score=0.001, probability=0.005, worst=0.05)
"""For float32 without TF32 on images without scaling: the order of sums differs, and crops are not rounded to bytes."""
SCALED: Final = Tolerance(found=0.97, box=0.01, points=0.005, score=0.005, probability=0.005, worst=0.3)
"""For scaled images: OpenCV scales bytes on the CPU, a GPU scales floats. This moves a side by 0.002 on average, and by 0.05 if
non-maximum suppression keeps the other of two similar boxes; more than 0.3 is another face. TF32 and float16 have 10 bits of
mantissa, which moves a side by 0.0004 on average on the CPU."""
COARSE: Final = Tolerance(found=0.97, box=0.02, points=0.01, score=0.01, probability=0.01, worst=0.3)
"""For bfloat16, which has 7 bits of mantissa: on the CPU a side moves by 0.006 on average and by 0.08 at most."""


@dataclass(frozen=True)
class Variant:
    """A precision on the device and its tolerance."""

    name: str
    precision: str
    tolerance: Tolerance
    is_scaled: bool = True
    """False: the images already have the size of the network's input."""
    has_tf32: bool = False
    needs_cuda: bool = False
    execution: Execution = "dynamic"


VARIANTS: Final = (
    Variant("float32, no TF32, no scaling", "float32", EXACT, is_scaled=False),
    Variant("float32, no TF32", "float32", SCALED),
    Variant("float32, TF32 in convolutions", "float32", SCALED, has_tf32=True, needs_cuda=True),
    Variant("float32, no TF32, padded", "float32", SCALED, execution="padded"),
    Variant("float16", "float16", SCALED),
    Variant("bfloat16", "bfloat16", COARSE),
    Variant("float32, no TF32, CUDA graphs", "float32", SCALED, execution="cuda_graphs", needs_cuda=True),
    Variant("float16, CUDA graphs", "float16", SCALED, execution="cuda_graphs", needs_cuda=True),
)
"""CUDA graphs are the last: an error in one may leave the device without an answer."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of two series of results."""

    faces: int
    """Number of faces of the first."""
    found: float
    """Fraction of the certain faces of the first that the second has too."""
    not_extra: float
    """Fraction of the certain faces of the second that the first has too."""
    same_label: float
    """Fraction of equal labels among the faces that both have."""
    mean: Mapping[str, float]
    """Mean by `MEASURES` of the faces that both have."""
    worst: Mapping[str, float]

    def failures(self, tolerance: Tolerance) -> list[str]:
        """Return a line for each difference that is not allowed."""
        said = [] if self.faces else ["no face was found in any image"]
        shares = {"found": self.found, "not_extra": self.not_extra, "same_label": self.same_label}
        minimum = f"at least {tolerance.found:g} is required"
        said += [f"{name} {share:.3f}, {minimum}" for name, share in shares.items() if not share >= tolerance.found]
        for name in ("box", "points", "score", "probability"):
            mean, worst, allowed_mean = self.mean[name], self.worst[name], getattr(tolerance, name)
            if not mean <= allowed_mean:
                said.append(f"mean {name} {mean:.4f}, at most {allowed_mean:g} is allowed")
            if not worst <= tolerance.worst:
                said.append(f"worst {name} {worst:.4f}, at most {tolerance.worst:g} is allowed")
        return said

    def record(self) -> dict[str, Any]:
        """Return all numbers as one flat record."""
        record: dict[str, Any] = {"faces": self.faces}
        record |= {name: round(getattr(self, name), 4) for name in ("found", "not_extra", "same_label")}
        for name in MEASURES:
            record |= {name: round(self.mean[name], 5), f"worst_{name}": round(self.worst[name], 5)}
        return record


def agreement(expected: Sequence[FrameResult], found: Sequence[FrameResult], min_score: float) -> Agreement:
    """Compare the results for the same frames.

    Args:
        expected: Results of the reference.
        found: Results to compare with them.
        min_score: Threshold of the detector.
    """
    pairs: list[tuple[Face, Face]] = []
    only_expected: list[Face] = []
    only_found: list[Face] = []
    for one, other in zip(expected, found, strict=True):
        matched = _matched(one.faces, other.faces)
        pairs += [(one.faces[row], other.faces[column]) for row, column in matched]
        only_expected += _without(one.faces, {row for row, _ in matched})
        only_found += _without(other.faces, {column for _, column in matched})
    distances = np.array([_distances(one, other) for one, other in pairs] or [(0.0,) * len(MEASURES)])
    same_labels = sum(one.label is other.label for one, other in pairs)
    return Agreement(
        faces=len(pairs) + len(only_expected),
        found=_certain_fraction([one for one, _ in pairs], only_expected, min_score + _CERTAIN),
        not_extra=_certain_fraction([other for _, other in pairs], only_found, min_score + _CERTAIN),
        same_label=same_labels / len(pairs) if pairs else 1.0,
        mean=dict(zip(MEASURES, distances.mean(0).tolist(), strict=True)),
        worst=dict(zip(MEASURES, distances.max(0).tolist(), strict=True)),
    )


def _without(faces: Sequence[Face], indices: set[int]) -> list[Face]:
    return [face for index, face in enumerate(faces) if index not in indices]


def _certain_fraction(in_both: Sequence[Face], in_one: Sequence[Face], least_score: float) -> float:
    """Return the fraction of certain faces that both results have; 1 without certain faces."""
    both = sum(face.detection.score >= least_score for face in in_both)
    one = sum(face.detection.score >= least_score for face in in_one)
    return both / (both + one) if both + one else 1.0


def _matched(expected: Sequence[Face], found: Sequence[Face]) -> list[tuple[int, int]]:
    """Return pairs of faces that overlap, the largest overlap first; a face is in one pair at most."""
    if not expected or not found:
        return []
    iou = box_iou(_boxes(expected), _boxes(found))
    pairs: list[tuple[int, int]] = []
    while iou.max() >= _SAME_IOU:
        row, column = map(int, np.unravel_index(iou.argmax(), iou.shape))
        pairs.append((row, column))
        iou[row], iou[:, column] = -1, -1
    return pairs


def _boxes(faces: Sequence[Face]) -> FloatArray:
    return np.stack([face.face_box_xyxy for face in faces])


def _distances(one: Face, other: Face) -> tuple[float, ...]:
    """Return `MEASURES` of a face that both have, for the side of the box and the keypoint with the largest distance."""
    side_px = float(max(one.face_box_xyxy[2:] - one.face_box_xyxy[:2]))
    box_px = float(np.abs(one.face_box_xyxy - other.face_box_xyxy).max())
    certain = one.detection.keypoint_scores >= _CERTAIN_POINT
    points_px = float(np.abs(one.detection.keypoints_xy - other.detection.keypoints_xy)[certain].max(initial=0))
    score = abs(one.detection.score - other.detection.score)
    probability = abs((one.confidence or 0) - (other.confidence or 0)) if one.label is other.label else 0.0
    return box_px, box_px / side_px, points_px, points_px / side_px, score, probability


def equivalence(check: Check) -> dict[str, Any]:
    """Compare the device in all precisions with the CPU in float32."""
    shown = {True: check.frames, False: [_in_size_of_network(frame, check.plan.short_side) for frame in check.frames]}
    reference = check.reference()
    expected = {is_scaled: analyse(reference, frames) for is_scaled, frames in shown.items()}
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for variant in VARIANTS:
        if variant.precision not in check.precisions or (variant.needs_cuda and not check.is_cuda):
            continue
        check.say(f"equivalence: {variant.name}")
        row = _compared(check, variant, shown[variant.is_scaled], expected[variant.is_scaled])
        rows.append(row)
        check.keep(rows)
        failures += [f"{variant.name}: {each}" for each in row["failures"]]
    said = failures or [f"{len(check.frames)} images with {rows[0]['faces']} faces, compared with the CPU in float32"]
    return {"passed": not failures, "said": "; ".join(said), "rows": rows, "columns": _COLUMNS}


def _compared(check: Check, variant: Variant, frames: Sequence[Frame], expected: Sequence[FrameResult]) -> dict[str, Any]:
    """Compare one variant; an error in it does not stop the others."""
    if check.is_lost:
        return {"what": variant.name, "passed": False, "failures": [LOST]}
    try:
        with tf32(convolutions=variant.has_tf32, products=False), logged_lines("detector.execution") as refused:
            found = analyse(check.analyzer(variant.precision, variant.execution), frames)
    except Exception as error:  # a device may fail in any way
        return {"what": variant.name, "passed": False, "failures": [check.failed(f"equivalence: {variant.name}", error)]}
    compared = agreement(expected, found, check.config().detector.min_score)
    failures = compared.failures(variant.tolerance) + refused
    return {"what": variant.name, "passed": not failures, "failures": failures, **compared.record()}


def _in_size_of_network(frame: Frame, short_side: int) -> Frame:
    """Scale an image to the input size of the detector."""
    scale = min(short_side / min(frame.bgr.shape[:2]), LONGEST_SIDE / max(frame.bgr.shape[:2]))
    width, height = (max(round(side * scale), 1) for side in (frame.width, frame.height))
    return as_frame(cv2.resize(frame.bgr, (width, height)), frame.index)


def crops(check: Check) -> dict[str, Any]:
    """Compare crops cut by the device and by OpenCV: of faces, and of squares that are rotated, large or beyond the edge."""
    if check.device.type not in {"cpu", "cuda"}:
        return {"skipped": f"volumes cannot be sampled on {check.device}: crops are cut on the CPU there"}
    frames = check.frames[:BATCH]
    results = analyse(check.reference(), frames)
    quads = [[face.quad_xy for face in result.faces] + _hard_quads(frame) for frame, result in zip(frames, results, strict=True)]
    images = [frame.bgr for frame in frames]
    expected = np.stack(cut_faces(images, quads, _CROP_PX))[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    found: Any = DeviceCutter(Uploads(check.device))(images, quads, _CROP_PX)
    assert isinstance(found, torch.Tensor)
    difference = np.abs(found.cpu().numpy() * 255 - expected)
    mean = float(difference.mean(axis=(1, 2, 3)).max())
    worst = float(np.quantile(difference.reshape(len(difference), -1), 0.999))
    passed = mean <= _MEAN_GREY and worst <= _WORST_GREY
    said = (
        f"{len(expected)} crops: the worst differs by {mean:.2f} grey levels on average, 1 pixel in 1,000 by {worst:.1f} or more"
    )
    allowed = "" if passed else f"; allowed are {_MEAN_GREY:g} and {_WORST_GREY:g}"
    return {"passed": passed, "said": said + allowed, "mean_grey": round(mean, 4), "p999_grey": round(worst, 3)}


def _hard_quads(frame: Frame) -> list[FloatArray]:
    """Return outlines (4, 2): one rotated, one larger than the image, one beyond its upper left corner."""
    short = min(frame.width, frame.height)
    middle = np.array([frame.width / 2, frame.height / 2])
    squares = ((middle, 0.4 * short, 30.0), (middle, 1.5 * short, 0.0), (np.zeros(2), 0.3 * short, -10.0))
    quads: list[FloatArray] = []
    for centre, side, degrees in squares:
        angle = np.radians(degrees)
        across = np.array([np.cos(angle), np.sin(angle)]) * side / 2
        down = np.array([-across[1], across[0]])
        corners = np.stack([-across - down, across - down, across + down, -across + down])
        quads.append(np.asarray(centre + corners, np.float32))
    return quads
