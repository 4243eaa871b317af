"""Whether a device gives the answers of the CPU: the same faces, in the same places, with the same labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from maskstream.benchmark.gpu_setup import BATCH, Check, analyse, as_frame, tf32
from maskstream.evaluation.matching import box_iou
from maskstream.models.face_mobilenet import LONGEST_SIDE
from maskstream.models.gpu_images import DeviceCutter, Uploads
from maskstream.types import Face, FloatArray, Frame, FrameResult
from maskstream.vision.align import cut_faces

_SAME_IOU: Final = 0.5
_CERTAIN: Final = 0.1
"""A face whose score is this much above the threshold must be found by both; one below may be left out by either."""
_CERTAIN_POINT: Final = 0.3
"""Score of a keypoint that must be found in the same place."""
_CROP_PX: Final = 112
_MEAN_GREY: Final = 1.0
_WORST_GREY: Final = 10.0
"""OpenCV interpolates between places 1/32 pixel apart and rounds to bytes: a grey level on average, a few at hard edges."""

MEASURES: Final = ("box_px", "box", "points_px", "points", "score", "probability")
"""How far a face lies off: a side of its box and a certain keypoint, in pixels of the image and in longer sides of the face,
the detector's score, and the probability of the label where that is the same."""
_COLUMNS: Final = (
    *("what", "passed", "faces", "found", "not_extra", "same_label", "box_px", "worst_box_px", "points_px", "worst_points_px"),
    *("worst_score", "worst_probability"),
)
"""Of the table that is printed."""


@dataclass(frozen=True)
class Tolerance:
    """How far answers may lie from those of the CPU."""

    found: float
    """Least share of certain faces that are found again, of labels that are the same, and of faces that the CPU finds too."""
    box: float
    """Most that a side of a box moves on average, in longer sides of its face."""
    points: float
    """The same of a keypoint."""
    score: float
    """Most that the detector's score changes on average."""
    probability: float
    """Most that the label's probability changes on average."""
    worst: float
    """Most that any single one of the four does."""


EXACT: Final = Tolerance(found=0.99, box=0.001, points=0.001, score=0.001, probability=0.005, worst=0.05)
"""Of float32 without TF32 on images that need no scaling: sums in another order, and crops that were not rounded to bytes."""
SCALED: Final = Tolerance(found=0.97, box=0.01, points=0.005, score=0.005, probability=0.005, worst=0.3)
"""Where images are scaled: on the CPU as bytes by OpenCV, on a GPU as floats. This alone moves a side by 0.002 on average, and
by 0.05 where non-maximum suppression prefers the other of two boxes that are nearly as good; beyond 0.3 it is another face.
TF32 and float16 have 10 bits of mantissa, which on the CPU moves a side by 0.0004 on average."""
COARSE: Final = Tolerance(found=0.97, box=0.02, points=0.01, score=0.01, probability=0.01, worst=0.3)
"""Of bfloat16, which has 7 bits of mantissa: on the CPU a side moves by 0.006 on average, by 0.08 at worst."""


@dataclass(frozen=True)
class Variant:
    """A way to compute on the device, and how near it must come."""

    name: str
    precision: str
    tolerance: Tolerance
    is_scaled: bool = True
    """False: images are shown in the size that the network looks at."""
    has_tf32: bool = False
    needs_cuda: bool = False


VARIANTS: Final = (
    Variant("float32, no TF32, nothing to scale", "float32", EXACT, is_scaled=False),
    Variant("float32, no TF32", "float32", SCALED),
    Variant("float32, TF32 in convolutions", "float32", SCALED, has_tf32=True, needs_cuda=True),
    Variant("float16", "float16", SCALED),
    Variant("bfloat16", "bfloat16", COARSE),
)


@dataclass(frozen=True)
class Agreement:
    """How far two series of answers agree."""

    faces: int
    """Of the first."""
    found: float
    """Share of the certain faces of the first that are in the second too."""
    not_extra: float
    """Share of the certain faces of the second that are in the first too."""
    same_label: float
    """Share of the faces that both have."""
    mean: Mapping[str, float]
    """By `MEASURES`, over the faces that both have."""
    worst: Mapping[str, float]

    def failures(self, tolerance: Tolerance) -> list[str]:
        """Return what lies too far apart, in words."""
        said = [] if self.faces else ["no face was found in any picture"]
        shares = {"found": self.found, "not_extra": self.not_extra, "same_label": self.same_label}
        wanted = f"at least {tolerance.found:g} is wanted"
        said += [f"{name} {share:.3f}, {wanted}" for name, share in shares.items() if not share >= tolerance.found]
        for name in ("box", "points", "score", "probability"):
            for how, value, most in (("mean", self.mean, getattr(tolerance, name)), ("worst", self.worst, tolerance.worst)):
                if not value[name] <= most:
                    said.append(f"{how} {name} {value[name]:.4f}, at most {most:g} is allowed")
        return said

    def record(self) -> dict[str, Any]:
        """Return all of it in one level."""
        record: dict[str, Any] = {"faces": self.faces}
        record |= {name: round(getattr(self, name), 4) for name in ("found", "not_extra", "same_label")}
        for name in MEASURES:
            record |= {name: round(self.mean[name], 5), f"worst_{name}": round(self.worst[name], 5)}
        return record


def agreement(expected: Sequence[FrameResult], found: Sequence[FrameResult], min_score: float) -> Agreement:
    """Compare answers of the same frames.

    Args:
        expected: The reference.
        found: The others.
        min_score: The detector's threshold.
    """
    pairs: list[tuple[Face, Face]] = []
    alone: tuple[list[Face], list[Face]] = ([], [])
    for one, other in zip(expected, found, strict=True):
        matched = _matched(one.faces, other.faces)
        pairs += [(one.faces[row], other.faces[column]) for row, column in matched]
        rows, columns = {row for row, _ in matched}, {column for _, column in matched}
        alone[0].extend(face for number, face in enumerate(one.faces) if number not in rows)
        alone[1].extend(face for number, face in enumerate(other.faces) if number not in columns)
    distances = np.array([_distances(*pair) for pair in pairs] or [(0.0,) * len(MEASURES)])
    return Agreement(
        faces=len(pairs) + len(alone[0]),
        found=_share_of_certain([one for one, _ in pairs], alone[0], min_score + _CERTAIN),
        not_extra=_share_of_certain([other for _, other in pairs], alone[1], min_score + _CERTAIN),
        same_label=sum(one.label is other.label for one, other in pairs) / len(pairs) if pairs else 1.0,
        mean=dict(zip(MEASURES, distances.mean(0).tolist(), strict=True)),
        worst=dict(zip(MEASURES, distances.max(0).tolist(), strict=True)),
    )


def _share_of_certain(both: Sequence[Face], alone: Sequence[Face], least_score: float) -> float:
    """Return the share of the certain faces that are in both; 1 where there are none."""
    met, left = (sum(face.detection.score >= least_score for face in faces) for faces in (both, alone))
    return met / (met + left) if met + left else 1.0


def _matched(expected: Sequence[Face], found: Sequence[Face]) -> list[tuple[int, int]]:
    """Return pairs of faces that overlap, each in one pair at most, those that overlap most first."""
    if not expected or not found:
        return []
    iou = box_iou(*(np.stack([face.face_box_xyxy for face in faces]) for faces in (expected, found)))
    pairs: list[tuple[int, int]] = []
    while iou.max() >= _SAME_IOU:
        row, column = map(int, np.unravel_index(iou.argmax(), iou.shape))
        pairs.append((row, column))
        iou[row], iou[:, column] = -1, -1
    return pairs


def _distances(one: Face, other: Face) -> tuple[float, ...]:
    """Return `MEASURES` of a face that both have; of sides of the box, and of keypoints, those that lie farthest off."""
    side_px = float(max(one.face_box_xyxy[2:] - one.face_box_xyxy[:2]))
    box_px = float(np.abs(one.face_box_xyxy - other.face_box_xyxy).max())
    certain = one.detection.keypoint_scores >= _CERTAIN_POINT
    points_px = float(np.abs(one.detection.keypoints_xy - other.detection.keypoints_xy)[certain].max(initial=0))
    score = abs(one.detection.score - other.detection.score)
    probability = abs((one.confidence or 0) - (other.confidence or 0)) if one.label is other.label else 0.0
    return box_px, box_px / side_px, points_px, points_px / side_px, score, probability


def equivalence(check: Check) -> dict[str, Any]:
    """Compare the device in all precisions with the CPU in float32."""
    min_score = check.config().detector.min_score
    shown = {True: check.frames, False: [_in_size_of_network(frame, check.plan.short_side) for frame in check.frames]}
    reference = check.reference()
    expected = {is_scaled: analyse(reference, frames) for is_scaled, frames in shown.items()}
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    for variant in VARIANTS:
        if variant.precision not in check.precisions or (variant.needs_cuda and not check.is_cuda):
            continue
        check.say(f"equivalence: {variant.name}")
        with tf32(convolutions=variant.has_tf32, products=False):
            found = analyse(check.analyzer(variant.precision), shown[variant.is_scaled])
        compared = agreement(expected[variant.is_scaled], found, min_score)
        said = compared.failures(variant.tolerance)
        failures += [f"{variant.name}: {each}" for each in said]
        rows.append({"what": variant.name, "passed": not said, **compared.record()})
    said = failures or [f"{len(check.frames)} pictures with {rows[0]['faces']} faces, against the CPU in float32"]
    return {"passed": not failures, "said": "; ".join(said), "rows": rows, "columns": _COLUMNS}


def _in_size_of_network(frame: Frame, short_side: int) -> Frame:
    """Return an image in the size in which the detector looks at it."""
    scale = min(short_side / min(frame.bgr.shape[:2]), LONGEST_SIDE / max(frame.bgr.shape[:2]))
    width, height = (max(round(side * scale), 1) for side in (frame.width, frame.height))
    return as_frame(cv2.resize(frame.bgr, (width, height)), frame.index)


def crops(check: Check) -> dict[str, Any]:
    """Compare crops cut by the device with OpenCV's: of faces, and of squares that are turned, large or over the edge."""
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
    """Return outlines (4, 2): turned, larger than the image, and over its upper left corner."""
    short = min(frame.width, frame.height)
    middle = np.array([frame.width / 2, frame.height / 2])
    squares = ((middle, 0.4 * short, 30.0), (middle, 1.5 * short, 0.0), (np.zeros(2), 0.3 * short, -10.0))
    return [_square(centre, side, degrees) for centre, side, degrees in squares]


def _square(centre: NDArray[np.float64], side: float, degrees: float) -> FloatArray:
    angle = np.radians(degrees)
    across = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    down = np.array([-across[1], across[0]])
    return np.asarray(centre + np.stack([-across - down, across - down, across + down, -across + down]), np.float32)
