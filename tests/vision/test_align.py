import cv2
import numpy as np
import pytest

from maskstream.types import Detection
from maskstream.vision.align import EYE_DISTANCE, EYE_LEVEL, PADDING_BGR, AlignRules, align_face, crop_quad, cut_quad
from tests.conftest import make_detection

RULES = AlignRules(min_face_px=10, min_keypoint_score=0.3)
SIZE = 112


def rotated(detection: Detection, degrees: float, scale: float = 1.0, centre: tuple[float, float] = (150, 150)) -> Detection:
    turn = np.deg2rad(degrees)
    matrix = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = (detection.keypoints_xy - np.array([50, 47])) @ matrix + np.array(centre)
    middle, half = points.mean(axis=0), scale * np.array([18, 22])
    return Detection(
        np.concatenate([middle - half, middle + half]).astype(np.float32),
        detection.score,
        points.astype(np.float32),
        detection.keypoint_scores,
        detection.keypoint_names,
    )


def image_of(detection: Detection, size: int = 300) -> np.ndarray:
    """Black, with the person's right eye red, the left eye green and the nose blue."""
    bgr = np.zeros((size, size, 3), np.uint8)
    for name, colour in (("right_eye", (0, 0, 255)), ("left_eye", (0, 255, 0)), ("nose", (255, 0, 0))):
        x, y = detection.keypoint(name)[0]
        cv2.circle(bgr, (round(float(x)), round(float(y))), 3, colour, cv2.FILLED)
    return bgr


def centre_of(crop: np.ndarray, channel: int) -> np.ndarray:
    weights = crop[..., channel].astype(float)
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]] + 0.5
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum() / crop.shape[0]


@pytest.mark.parametrize("degrees", [0, 15, -30, 90, 180])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_eyes_come_to_fixed_places_however_the_head_is_tilted(degrees: float, scale: float) -> None:
    detection = rotated(make_detection(), degrees, scale)
    aligned = align_face(image_of(detection), detection, detection.box_xyxy, SIZE, RULES)
    assert aligned is not None
    assert aligned.bgr.shape == (SIZE, SIZE, 3)
    # The person's right eye is on the viewer's left.
    assert centre_of(aligned.bgr, 2) == pytest.approx([0.5 - EYE_DISTANCE / 2, EYE_LEVEL], abs=0.015)
    assert centre_of(aligned.bgr, 1) == pytest.approx([0.5 + EYE_DISTANCE / 2, EYE_LEVEL], abs=0.015)
    assert centre_of(aligned.bgr, 0)[1] > EYE_LEVEL


def test_the_quad_is_what_was_cut() -> None:
    detection = rotated(make_detection(), 20, 2.0)
    aligned = align_face(image_of(detection), detection, detection.box_xyxy, SIZE, RULES)
    assert aligned is not None
    upper_left, upper_right, _, lower_left = aligned.quad_xy
    fraction = np.linalg.solve(
        np.stack([upper_right - upper_left, lower_left - upper_left], axis=1), detection.keypoint("nose")[0] - upper_left
    )
    assert centre_of(aligned.bgr, 0) == pytest.approx(fraction, abs=0.015)


def test_the_whole_face_box_of_an_upright_face_is_inside() -> None:
    detection = make_detection(left_eye=(56, 40), right_eye=(44, 40), box=(20, 5, 80, 95))
    quad = crop_quad(detection, detection.box_xyxy, RULES)
    assert quad is not None
    width, height = quad[2] - quad[0]
    assert width >= 1.2 * 60 - 1e-3
    assert height >= 90 - 1e-3


def test_a_profile_is_not_rotated_and_scaled_by_its_box() -> None:
    detection = make_detection(left_eye=(50, 44), right_eye=(50, 38), nose=(44, 50), box=(30, 20, 70, 74))
    quad = crop_quad(detection, detection.box_xyxy, RULES)
    assert quad is not None
    assert quad[0][1] == quad[1][1]
    assert quad[1][0] - quad[0][0] == pytest.approx(54)  # the height of the box


def test_mixed_up_eyes_do_not_stand_the_face_on_its_head() -> None:
    right = crop_quad(make_detection(), make_detection().box_xyxy, RULES)
    mixed = make_detection(left_eye=(40, 40), right_eye=(60, 40))
    assert crop_quad(mixed, mixed.box_xyxy, RULES) == pytest.approx(right)


def test_beyond_the_edge_it_is_padded() -> None:
    detection = make_detection(left_eye=(15, 5), right_eye=(-5, 5), nose=(5, 17), box=(-17, -15, 27, 39))
    aligned = align_face(np.full((100, 100, 3), 255, np.uint8), detection, detection.box_xyxy, SIZE, RULES)
    assert aligned is not None
    assert aligned.bgr[0, 0].tolist() == list(PADDING_BGR)
    assert aligned.bgr[-1, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    "detection",
    [
        make_detection(point_score=0.29),
        make_detection(box=(40, 40, 49.9, 60)),
        make_detection(box=(40, 40, 40, 40)),
        make_detection(box=(float("nan"), 0, 50, 50)),
        make_detection(left_eye=(float("nan"), 40)),
    ],
    ids=["weak eyes", "small", "no area", "NaN box", "NaN eye"],
)
def test_what_cannot_be_judged_is_refused(detection: Detection) -> None:
    assert align_face(np.zeros((100, 100, 3), np.uint8), detection, detection.box_xyxy, SIZE, RULES) is None


def test_one_certain_eye_is_enough() -> None:
    good = make_detection()
    scores = np.array([0.9, 0.9, 0.1], np.float32)  # the right eye is covered
    half = Detection(good.box_xyxy, 0.9, good.keypoints_xy, scores, good.keypoint_names)
    quad = crop_quad(half, half.box_xyxy, RULES)
    assert quad is not None
    assert (quad[0][0] + quad[1][0]) / 2 == pytest.approx(60)  # centred on the left eye


def test_large_faces_are_averaged_and_do_not_alias() -> None:
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    quad = np.array([[100, 100], [772, 100], [772, 772], [100, 772]], np.float32)
    crop = cut_quad(stripes, quad, SIZE)
    assert crop.std() < 8
    assert crop.mean() == pytest.approx(127.5, abs=3)


def test_the_frame_is_not_modified() -> None:
    detection = make_detection()
    bgr = image_of(detection)
    before = bgr.copy()
    align_face(bgr, detection, detection.box_xyxy, SIZE, RULES)
    assert (bgr == before).all()
