"""A face that is turned, scaled or moved is cut out turned, scaled and moved, and what was cut can be found again."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maskstream.types import FACE_KEYPOINTS, Detection
from maskstream.vision.align import EYE_DISTANCE, EYE_LEVEL, PADDING_BGR, PROFILE_BELOW, AlignRules, crop_quad, cut_quad
from tests.properties import any_number, examples, floats32

RULES = AlignRules(min_face_px=1, min_keypoint_score=0.3)
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
SCORES = st.floats(0.5, 1)


@st.composite
def detections(draw: st.DrawFn, profile: bool = False) -> Detection:
    """A face of some 100 px around (0, 0), its eyes level, its nose below them."""
    width, height = draw(st.floats(50, 100)), draw(st.floats(60, 120))
    reach = (0, PROFILE_BELOW * width * 0.9) if profile else (PROFILE_BELOW * width * 1.1, 0.8 * width)
    half = draw(st.floats(*reach)) / 2
    middle = np.array([draw(st.floats(-10, 10)), draw(st.floats(-20, 0))])
    nose = np.array([draw(st.floats(-20, 20)), draw(st.floats(1, 30))])
    eye = np.array([half, 0])
    points = middle + np.array([nose, eye, -eye])  # the person's left eye is on the viewer's right
    box = [-width / 2, -height / 2, width / 2, height / 2]
    scores = draw(st.lists(SCORES, min_size=3, max_size=3))
    return Detection(floats32(box), 0.9, floats32(points), floats32(scores), FACE_KEYPOINTS)


@st.composite
def similarities(draw: st.DrawFn, turns: bool = True) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Scale, rotation (2, 2) and shift (2,) in pixels."""
    angle = np.deg2rad(draw(st.floats(-180, 180))) if turns else 0.0
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shift = np.array([draw(st.floats(-2000, 2000)), draw(st.floats(-2000, 2000))])
    return draw(st.floats(0.2, 8)), matrix, shift


def moved(
    detection: Detection, similarity: tuple[float, NDArray[np.float64], NDArray[np.float64]]
) -> tuple[Detection, NDArray[np.float64]]:
    """Return a detection after a similarity. The box of a turned face stays upright, as wide and high as before."""
    scale, matrix, shift = similarity
    points = scale * detection.keypoints_xy.astype(np.float64) @ matrix.T + shift
    box = scale * detection.box_xyxy.astype(np.float64) + np.tile(shift, 2)
    return replace(detection, box_xyxy=floats32(box), keypoints_xy=floats32(points)), scale * matrix


def quad_of(detection: Detection) -> NDArray[np.float64]:
    quad = crop_quad(detection, detection.box_xyxy, RULES)
    assert quad is not None
    return quad.astype(np.float64)


def to_crop(quad_xy: NDArray[np.float64], points_xy: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return where points (N, 2) of the frame lie in the crop, in its sides."""
    across, down = quad_xy[1] - quad_xy[0], quad_xy[3] - quad_xy[0]
    return np.linalg.solve(np.stack([across, down], axis=1), (points_xy - quad_xy[0]).T).T


@examples(2)
@given(detection=detections(), similarity=similarities())
def test_the_outline_goes_with_the_face(
    detection: Detection, similarity: tuple[float, NDArray[np.float64], NDArray[np.float64]]
) -> None:
    there, matrix = moved(detection, similarity)
    assert quad_of(there) == pytest.approx(quad_of(detection) @ matrix.T + similarity[2], abs=0.02 * similarity[0] + 0.01)


@given(detection=detections(profile=True), similarity=similarities(turns=False))
def test_the_outline_goes_with_a_profile_that_is_not_turned(
    detection: Detection, similarity: tuple[float, NDArray[np.float64], NDArray[np.float64]]
) -> None:
    there, matrix = moved(detection, similarity)
    assert quad_of(there) == pytest.approx(quad_of(detection) @ matrix.T + similarity[2], abs=0.02 * similarity[0] + 0.01)


@examples(2)
@given(detection=detections(), similarity=similarities())
def test_eyes_land_where_they_always_do(
    detection: Detection, similarity: tuple[float, NDArray[np.float64], NDArray[np.float64]]
) -> None:
    there, _ = moved(detection, similarity)
    nose, left_eye, right_eye = to_crop(quad_of(there), there.keypoints_xy)
    assert left_eye[1] == pytest.approx(EYE_LEVEL, abs=0.005)
    assert right_eye[1] == pytest.approx(EYE_LEVEL, abs=0.005)
    assert (left_eye[0] + right_eye[0]) / 2 == pytest.approx(0.5, abs=0.005)
    assert 0 < left_eye[0] - right_eye[0] <= EYE_DISTANCE + 0.005
    assert nose[1] > EYE_LEVEL - 0.005


@given(detection=detections(), similarity=similarities())
def test_it_is_a_square_that_holds_the_face(
    detection: Detection, similarity: tuple[float, NDArray[np.float64], NDArray[np.float64]]
) -> None:
    there, _ = moved(detection, similarity)
    quad = quad_of(there)
    sides = np.hypot(*(np.roll(quad, -1, axis=0) - quad).T)
    assert sides == pytest.approx(sides.mean(), rel=1e-3, abs=0.01)
    width, height = (there.box_xyxy[2:] - there.box_xyxy[:2]).tolist()
    assert sides.mean() >= max(1.2 * width, height) * (1 - 1e-3) - 0.01
    assert (quad[0] + quad[2]) / 2 == pytest.approx((quad[1] + quad[3]) / 2, abs=0.01)


@given(detection=detections(), similarity=similarities())
def test_mixed_up_eyes_make_no_difference(
    detection: Detection, similarity: tuple[float, NDArray[np.float64], NDArray[np.float64]]
) -> None:
    there, _ = moved(detection, similarity)
    mixed = replace(there, keypoints_xy=there.keypoints_xy[[0, 2, 1]])
    assert quad_of(mixed) == pytest.approx(quad_of(there), abs=0.01)


@given(
    side=st.floats(12, 400),
    angle=st.floats(-np.pi, np.pi),
    centre=st.tuples(st.floats(100, 300), st.floats(100, 300)),
    size=st.sampled_from([32, 64, 112]),
    spot=st.tuples(st.floats(0.2, 0.8), st.floats(0.2, 0.8)),
)
def test_a_point_of_the_image_is_found_in_the_crop(
    side: float, angle: float, centre: tuple[float, float], size: int, spot: tuple[float, float]
) -> None:
    """A bright spot is drawn where the outline says that it lies, and found there in what was cut."""
    across = side * np.array([np.cos(angle), np.sin(angle)])
    down = np.array([-across[1], across[0]])
    quad = np.array(centre) + (CORNERS - 0.5) @ np.stack([across, down])
    rows, columns = np.mgrid[:400, :400] + 0.5
    at = quad[0] + spot[0] * across + spot[1] * down
    assume(bool((at > 20).all() and (at < 380).all()))
    spread = max(side / size, 1.5)
    glow = 250 * np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / (2 * spread**2))
    crop = cut_quad(np.repeat(glow[..., None], 3, 2).astype(np.uint8), floats32(quad), size)
    assert crop.shape == (size, size, 3)
    light = np.where(np.ptp(crop, axis=2) > 0, 0, crop[..., 0]).astype(np.float64)  # what was padded is no grey
    light[light < 40] = 0
    rows, columns = np.mgrid[:size, :size] + 0.5
    found = np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum() / size
    assert found == pytest.approx(spot, abs=0.6 / size + 0.6 / side)


@given(
    box=st.lists(any_number(st.floats(-50, 300)), min_size=4, max_size=4),
    points=st.lists(any_number(st.floats(-50, 300)), min_size=6, max_size=6),
    scores=st.lists(any_number(st.floats(0, 1)), min_size=3, max_size=3),
)
@examples(4)
@example(box=[-3e38, 0, 3e38, 100], points=[50, 52, 60, 40, 40, 40], scores=[0.9] * 3)
@example(box=[28, 20, 72, 74], points=[50, 52, 3e38, 40, -3e38, 40], scores=[0.9] * 3)
@example(box=[0, 0, 100, 100], points=[3.4e38, -3.4e38, 60, 60, 40, 40], scores=[0.9] * 3)
@example(box=[0, 0, 100, 100], points=[float("inf"), 10, 60, 60, 40, 40], scores=[0.9] * 3)
@example(box=[0, 0, 1e20, 1e20], points=[50, 52, 60, 40, 40, 40], scores=[0.9] * 3)
def test_whatever_a_network_says_is_cut_or_refused(box: list[float], points: list[float], scores: list[float]) -> None:
    detection = Detection(floats32(box), 0.9, floats32(points).reshape(3, 2), floats32(scores), FACE_KEYPOINTS)
    quad = crop_quad(detection, detection.box_xyxy, RULES)
    if quad is not None:
        assert np.isfinite(quad).all()
        crop = cut_quad(np.full((60, 80, 3), 200, np.uint8), quad, 32)
        assert crop.shape == (32, 32, 3)
        assert crop.min() >= min(PADDING_BGR)  # what is not of the picture is padding
