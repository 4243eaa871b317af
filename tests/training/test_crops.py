import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskstream.annotations import Annotations, LabelledFace, LabelledImage
from maskstream.errors import SinkError
from maskstream.io.images import read_image, write_image
from maskstream.training.crops import MARGIN, CropRules, MissReason, centre_crop, cut_with_margin, make_crops, stored_size
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, Label
from maskstream.vision.align import PADDING_BGR, AlignRules, align_face
from maskstream.vision.geometry import face_box_from_keypoints, head_box
from tests.conftest import make_detection
from tests.vision.test_align import rotated

ALIGN = AlignRules(min_face_px=10, min_keypoint_score=0.3)
RULES = CropRules(size_px=32, rules=ALIGN, keypoints="labels", box="face")
SIDE = 300


@dataclass
class Detector:
    """Finds what it was told to find, in every picture."""

    found: Sequence[Detection] = ()
    keypoint_names: tuple[str, ...] = FACE_KEYPOINTS

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        return [list(self.found) for _ in images_bgr]


def noise(side: int = SIDE) -> BgrImage:
    """Return a picture that looks different when it is moved by the least."""
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)


def labelled(detection: Detection, label: Label = Label.MASK, keypoints: bool = True) -> LabelledFace:
    return LabelledFace(detection.box_xyxy, label, keypoints_xy=detection.keypoints_xy if keypoints else None)


def annotations(folder: Path, *faces: LabelledFace, names: Sequence[str] = ("a.png",)) -> Annotations:
    """Return pictures of noise, each with all of the faces."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(folder / name, noise())
    return Annotations(tuple(LabelledImage(folder / name, name, SIDE, SIDE, faces) for name in names), "coco", "0" * 64)


def cut(given: Annotations, out: Path, detector: Detector | None = None, **changes: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    return make_crops(given, detector, out, replace(RULES, **changes), lambda done: None)


def moved(detection: Detection, by: float) -> Detection:
    shift = np.float32(by)
    return Detection(
        detection.box_xyxy + shift, 0.9, detection.keypoints_xy + shift, detection.keypoint_scores, detection.keypoint_names
    )


def assert_same_pixels(crop: BgrImage, expected: BgrImage) -> None:
    """They may differ where rounding does: on noise, a shift by a hundredth of a pixel changes far more."""
    difference = abs(crop.astype(int) - expected.astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


@pytest.mark.parametrize("size_px", [112, 33])
@pytest.mark.parametrize(
    "detection",
    [
        rotated(make_detection(), 0, 1.0),
        rotated(make_detection(), 12, 0.5),
        rotated(make_detection(), -25, 1.63),
        rotated(make_detection(), 8, 4.1),
        rotated(make_detection(), 170, 2.3),
        rotated(make_detection(), 20, 1.7, centre=(4, 6)),
        rotated(make_detection(), -40, 2.2, centre=(290, 296)),
        make_detection(left_eye=(50, 44), right_eye=(50, 38), nose=(44, 50), box=(30, 20, 70, 74)),
    ],
    ids=["upright", "small", "tilted", "large", "upside down", "upper left edge", "lower right edge", "profile"],
)
def test_the_middle_of_a_stored_crop_is_what_the_stream_cuts(detection: Detection, size_px: int) -> None:
    bgr = noise()
    aligned = align_face(bgr, detection, detection.box_xyxy, size_px, ALIGN)
    stored = cut_with_margin(bgr, detection, detection.box_xyxy, size_px, ALIGN)
    assert aligned is not None
    assert stored is not None
    assert stored.shape == (stored_size(size_px), stored_size(size_px), 3)
    assert_same_pixels(centre_crop(stored, size_px), aligned.bgr)


def test_the_comparison_would_see_a_shift_by_a_tenth_of_a_pixel() -> None:
    detection = rotated(make_detection(), -25, 1.63)
    crops = [align_face(noise(), each, each.box_xyxy, 112, ALIGN) for each in (detection, moved(detection, 0.1))]
    assert crops[0] is not None
    assert crops[1] is not None
    with pytest.raises(AssertionError):
        assert_same_pixels(crops[0].bgr, crops[1].bgr)


def test_the_margin_shows_what_is_around_a_face_and_is_padded_beyond_the_image() -> None:
    white = np.full((SIDE, SIDE, 3), 255, np.uint8)
    inside, at_the_edge = (rotated(make_detection(), 0, 1.0, centre=centre) for centre in ((150, 150), (5, 150)))
    stored = [cut_with_margin(white, each, each.box_xyxy, 32, ALIGN) for each in (inside, at_the_edge)]
    assert stored[0] is not None
    assert stored[1] is not None
    assert (stored[0] == 255).all()
    assert stored[1][20, 0].tolist() == list(PADDING_BGR)
    assert stored[1][20, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size_px", [32, 33, 35, 100, 111, 112, 224])
def test_the_middle_lies_on_whole_pixels(size_px: int) -> None:
    stored = stored_size(size_px)
    assert (stored - size_px) % 2 == 0
    assert stored == pytest.approx(MARGIN * size_px, abs=1)
    numbered = np.arange(stored * stored * 3, dtype=np.uint32).reshape(stored, stored, 3)
    found = centre_crop(numbered.astype(np.uint8), size_px)
    margin = (stored - size_px) // 2
    assert found.shape == (size_px, size_px, 3)
    assert np.array_equal(found, numbered.astype(np.uint8)[margin:-margin, margin:-margin])


def test_what_cannot_be_aligned_is_refused() -> None:
    small, weak = make_detection(box=(40, 40, 49.9, 60)), make_detection(point_score=0.29)
    assert cut_with_margin(noise(), small, small.box_xyxy, 32, ALIGN) is None
    assert cut_with_margin(noise(), weak, weak.box_xyxy, 32, ALIGN) is None


def test_crops_go_into_folders_of_their_classes(tmp_path: Path) -> None:
    faces = [
        labelled(rotated(make_detection(), 10 * index, 1.0, centre=(60 + 80 * index, 150)), label)
        for index, label in enumerate((Label.MASK, Label.NO_MASK, Label.INCORRECT))
    ]
    given = annotations(tmp_path, *faces, names=("a.png", "b.png"))
    ticks: list[int] = []
    description = make_crops(given, None, tmp_path / "out", RULES, ticks.append)
    assert description["crops"] == {"incorrect": 2, "mask": 2, "no_mask": 2}
    assert sum(ticks) == 2
    for face in faces:
        paths = sorted((tmp_path / "out" / face.label.value).iterdir())
        expected = cut_with_margin(noise(), face.as_detection(), face.box_xyxy, 32, ALIGN)
        assert len(paths) == 2
        assert all(np.array_equal(read_image(str(path)), expected) for path in paths)


def test_the_description_agrees_with_the_files(tmp_path: Path) -> None:
    good, tiny = make_detection(), make_detection(box=(40, 40, 45, 46))
    faces = [labelled(good), labelled(good, Label.NO_MASK), labelled(good, Label.NO_MASK), labelled(tiny), labelled(tiny)]
    out = tmp_path / "out"
    returned = cut(annotations(tmp_path, *faces, names=("a.png", "b.png", "c.jpg")), out)
    description = json.loads((out / "crops.json").read_text())
    assert description["crops"] == dict(Counter(path.parent.name for path in out.glob("*/*.png"))) == {"mask": 3, "no_mask": 6}
    assert description["missed"] == {MissReason.TOO_SMALL: 6}
    assert description["misses"][0] == {"picture": "a.png", "box": [40, 40, 45, 46], "reason": MissReason.TOO_SMALL}
    assert [miss["picture"] for miss in description["misses"]] == ["a.png", "a.png", "b.png", "b.png", "c.jpg", "c.jpg"]
    assert (description["size_px"], description["stored_px"]) == (32, 40)
    assert (description["min_face_px"], description["keypoints"]) == (10, "labels")
    assert description["labels_sha256"] == "0" * 64
    assert (returned["crops"], returned["missed"]) == (description["crops"], description["missed"])


def test_images_of_one_name_in_several_folders_all_keep_their_crops(tmp_path: Path) -> None:
    names = ("x.png", "one/x.png", "two/x.png", "two/deep/x.png", "x.jpg")
    description = cut(annotations(tmp_path, labelled(make_detection()), names=names), tmp_path / "out")
    assert description["crops"] == {"mask": 5}
    assert len(list((tmp_path / "out" / "mask").iterdir())) == 5


@pytest.mark.parametrize(
    ("face", "detector", "reason"),
    [
        (replace(labelled(make_detection()), ignore=True), None, MissReason.IGNORED),
        (labelled(make_detection(), keypoints=False), None, MissReason.NO_KEYPOINTS),
        (labelled(make_detection(), keypoints=False), Detector(), MissReason.NOT_DETECTED),
        (labelled(make_detection(), keypoints=False), Detector([moved(make_detection(), 60)]), MissReason.NOT_DETECTED),
        (labelled(make_detection(), keypoints=False), Detector([make_detection(point_score=0.2)]), MissReason.TOO_SMALL),
        (labelled(make_detection(box=(40, 40, 49.5, 60))), None, MissReason.TOO_SMALL),
    ],
    ids=["ignored", "no points", "nothing detected", "detected elsewhere", "uncertain eyes", "small"],
)
def test_a_face_without_a_crop_is_listed_with_the_reason(
    tmp_path: Path, face: LabelledFace, detector: Detector | None, reason: MissReason
) -> None:
    description = cut(annotations(tmp_path, face, labelled(moved(make_detection(), 150))), tmp_path / "out", detector)
    assert description["missed"] == {reason: 1}
    assert description["misses"][0]["box"] == pytest.approx(face.box_xyxy.tolist(), abs=0.1)
    assert description["crops"] == {"mask": 1}  # the other one


def test_an_unreadable_image_is_listed_and_the_next_one_is_cut(tmp_path: Path) -> None:
    face, ignored = labelled(make_detection()), replace(labelled(make_detection()), ignore=True)
    given = annotations(tmp_path, face, ignored, face, names=("a.png", "b.png"))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    description = cut(given, tmp_path / "out")
    assert description["missed"] == {MissReason.IGNORED: 2, MissReason.UNREADABLE: 2}
    assert {miss["picture"] for miss in description["misses"] if miss["reason"] == MissReason.UNREADABLE} == {"a.png"}
    assert description["crops"] == {"mask": 2}


def test_a_face_of_unknown_class_is_an_unlabelled_crop(tmp_path: Path) -> None:
    unknown = labelled(moved(make_detection(), 150), Label.UNKNOWN)
    ignored = replace(labelled(make_detection(), Label.UNKNOWN), ignore=True)
    given = annotations(tmp_path, labelled(make_detection()), unknown, ignored)
    description = cut(given, tmp_path / "out")
    assert description["crops"] == {"mask": 1, "unlabelled": 1}
    assert description["missed"] == {MissReason.IGNORED: 1}
    assert len(list((tmp_path / "out" / "unlabelled").iterdir())) == 1


def test_nothing_to_cut_leaves_a_description(tmp_path: Path) -> None:
    description = cut(annotations(tmp_path), tmp_path / "out", Detector([make_detection()]))
    assert (description["crops"], description["missed"]) == ({}, {})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["crops.json"]


@pytest.mark.parametrize(
    ("keypoints", "from_labels", "from_detector"), [("labels", 1, 0), ("detector", 0, 1), ("both", 1, 1)], ids=str
)
def test_where_the_keypoints_come_from(tmp_path: Path, keypoints: str, from_labels: int, from_detector: int) -> None:
    ours, found = make_detection(), moved(make_detection(), 2)
    description = cut(annotations(tmp_path, labelled(ours)), tmp_path / "out", Detector([found]), keypoints=keypoints)
    crops = [read_image(str(path)) for path in (tmp_path / "out" / "mask").iterdir()]
    by_labels, by_detector = (cut_with_margin(noise(), each, each.box_xyxy, 32, ALIGN) for each in (ours, found))
    assert sum(np.array_equal(crop, by_labels) for crop in crops) == from_labels
    assert sum(np.array_equal(crop, by_detector) for crop in crops) == from_detector
    assert description["crops"] == {"mask": from_labels + from_detector}
    assert description["missed"] == {}


def test_a_face_without_labelled_points_takes_those_of_the_detector_and_others_do_not(tmp_path: Path) -> None:
    found, ours = moved(make_detection(), 3), moved(make_detection(), 120)
    faces = [labelled(make_detection(), keypoints=False), labelled(ours, Label.NO_MASK)]
    detector = Detector([found, moved(ours, 3)])
    assert cut(annotations(tmp_path, *faces), tmp_path / "out", detector)["crops"] == {"mask": 1, "no_mask": 1}
    for name, expected in (("mask", found), ("no_mask", ours)):
        (path,) = (tmp_path / "out" / name).iterdir()
        assert np.array_equal(read_image(str(path)), cut_with_margin(noise(), expected, expected.box_xyxy, 32, ALIGN))


def test_with_both_a_face_that_was_not_detected_has_its_labelled_crop(tmp_path: Path) -> None:
    description = cut(annotations(tmp_path, labelled(make_detection())), tmp_path / "out", Detector(), keypoints="both")
    assert (description["crops"], description["missed"]) == ({"mask": 1}, {})


@pytest.mark.parametrize("raised", [0.0, 0.3], ids=["as fitted", "drawn higher"])
def test_labelled_heads_are_matched_with_the_heads_of_detections(tmp_path: Path, raised: float) -> None:
    found = rotated(make_detection(), 0, 1.0)
    x1, y1, x2, y2 = head_box(found.box_xyxy, SIDE, SIDE)
    up = raised * (y2 - y1)  # so far that the face itself hardly meets it
    given = annotations(tmp_path, LabelledFace(np.array([x1, y1 - up, x2, y2 - up], np.float32), Label.NO_MASK))
    assert cut(given, tmp_path / "as_face", Detector([found]))["missed"] == {MissReason.NOT_DETECTED: 1}
    assert cut(given, tmp_path / "as_head", Detector([found]), box="head")["crops"] == {"no_mask": 1}
    (path,) = (tmp_path / "as_head" / "no_mask").iterdir()  # cut by the face, as the stream does
    assert np.array_equal(read_image(str(path)), cut_with_margin(noise(), found, found.box_xyxy, 32, ALIGN))


def test_a_detection_is_used_once_and_by_the_face_it_fits_best(tmp_path: Path) -> None:
    found = make_detection()
    worse, better = moved(found, 3), moved(found, 1)
    faces = [labelled(worse, Label.MASK, keypoints=False), labelled(better, Label.NO_MASK, keypoints=False)]
    description = cut(annotations(tmp_path, *faces), tmp_path / "out", Detector([found]))
    assert description["crops"] == {"no_mask": 1}
    assert description["missed"] == {MissReason.NOT_DETECTED: 1}
    assert description["misses"][0]["box"] == pytest.approx(worse.box_xyxy.tolist(), abs=0.1)


def test_a_face_is_matched_once_however_many_detections_there_are(tmp_path: Path) -> None:
    near, far = moved(make_detection(), 1), moved(make_detection(), 3)
    given = annotations(tmp_path, labelled(make_detection(), keypoints=False))
    assert cut(given, tmp_path / "out", Detector([far, near]))["crops"] == {"mask": 1}
    (path,) = (tmp_path / "out" / "mask").iterdir()
    assert np.array_equal(read_image(str(path)), cut_with_margin(noise(), near, near.box_xyxy, 32, ALIGN))


def test_an_unwritable_file_is_said(tmp_path: Path) -> None:
    given = annotations(tmp_path, labelled(make_detection()))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mask").write_text("in the way")
    with pytest.raises(SinkError, match=r"out/mask: cannot be made a folder"):
        cut(given, tmp_path / "out")


def test_crops_of_two_sets_are_not_mixed(tmp_path: Path) -> None:
    given = annotations(tmp_path, labelled(make_detection()))
    cut(given, tmp_path / "out")
    with pytest.raises(SinkError, match="out: contains crops already; delete it or choose another folder"):
        cut(given, tmp_path / "out")


def test_images_whose_names_differ_only_in_their_folders_keep_their_crops(tmp_path: Path) -> None:
    given = annotations(tmp_path, labelled(make_detection()), names=("a/x.png", "a_x.png"))
    description = cut(given, tmp_path / "out")
    assert description["crops"] == {"mask": 2}
    assert len(list((tmp_path / "out" / "mask").iterdir())) == 2


def test_a_labelled_head_is_cut_by_its_face(tmp_path: Path) -> None:
    detection = rotated(make_detection(), 0, 1.5)
    head = LabelledFace(head_box(detection.box_xyxy, SIDE, SIDE), Label.MASK, keypoints_xy=detection.keypoints_xy)
    cut(annotations(tmp_path, head), tmp_path / "out", box="head")
    expected = cut_with_margin(noise(), detection, face_box_from_keypoints(detection), 32, ALIGN)
    assert np.array_equal(read_image(str(next((tmp_path / "out" / "mask").iterdir()))), expected)


@pytest.mark.parametrize("height", [112, 224, 336])
def test_the_middle_is_the_same_where_the_side_is_a_multiple_of_the_size(height: int) -> None:
    detection = make_detection(left_eye=(130, 100), right_eye=(120, 101), nose=(125, 110), box=(100, 60, 140, 60 + height))
    bgr = noise(500)
    aligned = align_face(bgr, detection, detection.box_xyxy, 112, ALIGN)
    stored = cut_with_margin(bgr, detection, detection.box_xyxy, 112, ALIGN)
    assert aligned is not None
    assert stored is not None
    assert_same_pixels(centre_crop(stored, 112), aligned.bgr)


def test_background_is_what_is_found_beside_all_labelled_faces_in_images_of_the_given_names(tmp_path: Path) -> None:
    face, stranger = labelled(make_detection()), moved(make_detection(), 150)
    ignored = replace(labelled(moved(make_detection(), 80)), ignore=True)
    detector = Detector(
        [moved(make_detection(), 3), moved(make_detection(), 84), stranger, moved(make_detection(point_score=0.1), 220)]
    )
    given = annotations(tmp_path, face, ignored, names=("negative_1.png", "other.png"))
    description = cut(given, tmp_path / "out", detector, background=re.compile("^negative_"))
    assert description["crops"] == {"background": 1, "mask": 2}
    assert description["background"] == "^negative_"
    (path,) = (tmp_path / "out" / "background").iterdir()
    assert path.name.startswith("negative_1.png")
    assert np.array_equal(read_image(str(path)), cut_with_margin(noise(), stranger, stranger.box_xyxy, 32, ALIGN))


def test_an_image_without_faces_is_nothing_but_background(tmp_path: Path) -> None:
    detector = Detector([make_detection(), moved(make_detection(), 100)])
    assert cut(annotations(tmp_path), tmp_path / "out", detector, background=re.compile(""))["crops"] == {"background": 2}


def test_names_as_long_as_names_can_be(tmp_path: Path) -> None:
    deep = "/".join(["ü" * 100] * 3)
    (tmp_path / deep).mkdir(parents=True)
    given = annotations(tmp_path, labelled(make_detection()), names=[f"{deep}/a.png", f"{deep}/b.png"])
    cut(given, tmp_path / "crops")
    names = [path.name for path in (tmp_path / "crops" / "mask").iterdir()]
    assert sorted(name[-14:] for name in names) == ["a.png__0_0.png", "b.png__1_0.png"]
    assert all(name.isprintable() for name in names)
