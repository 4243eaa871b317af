from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from maskstream import load_config
from maskstream.config.loading import Layer
from maskstream.config.schema import Blur, PrivacyConfig
from maskstream.config.source_settings import SourceSettings
from maskstream.rendering.anonymize import anonymise, is_anonymised, stored_crop
from maskstream.rendering.overlay import Overlay
from maskstream.types import Face, Frame, FrameResult, Label, Output
from tests.conftest import make_face

NOISE = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)


def known(steady: Label | None, own: Label | None = None, x: float = 28) -> Face:
    face = make_face(own or steady or Label.MASK, box=(x, 20, x + 44, 74))
    return face if steady is None else replace(face, steady_label=steady)


def inside(bgr: np.ndarray, face: Face) -> np.ndarray:
    x1, y1, x2, y2 = face.face_box_xyxy.astype(int)
    return bgr[y1:y2, x1:x2]


def result_of(*faces: Face, hidden: tuple[Face, ...] = ()) -> FrameResult:
    return FrameResult("door", 0, 0.0, faces, hidden=hidden)


@pytest.mark.parametrize(
    ("blur", "anonymised"),
    [
        ("none", set()),
        ("all", set(Label)),
        ("masked", {Label.MASK, Label.UNKNOWN}),
        ("unmasked", {Label.NO_MASK, Label.INCORRECT, Label.UNKNOWN}),
    ],
)
def test_labels_that_are_anonymised(blur: Blur, anonymised: set[Label]) -> None:
    assert {label for label in Label if is_anonymised(known(label), blur)} == anonymised
    assert {label for label in Label if is_anonymised(known(None, label), blur)} == anonymised


@pytest.mark.parametrize("blur", ["masked", "unmasked"])
def test_a_face_is_anonymised_if_one_of_its_two_labels_requires_it(blur: Blur) -> None:
    assert is_anonymised(known(Label.MASK, Label.NO_MASK), blur)
    assert is_anonymised(known(Label.NO_MASK, Label.MASK), blur)
    assert is_anonymised(known(Label.UNKNOWN, Label.MASK), blur)


@pytest.mark.parametrize("blur", ["all", "masked", "unmasked"])
def test_nothing_of_a_face_is_left(blur: Blur) -> None:
    """The filled pixels do not depend on the frame, so nothing can be restored from them."""
    face = known(Label.UNKNOWN)
    anonymised = []
    for bgr in (NOISE.copy(), NOISE[::-1].copy(), np.zeros_like(NOISE)):
        anonymise(bgr, result_of(face), blur)
        anonymised.append(inside(bgr, face).copy())
    assert all((one == other).all() for one, other in pairwise(anonymised))
    assert np.ptp(anonymised[0].reshape(-1, 3), axis=0).max() == 0


def test_other_faces_are_not_modified() -> None:
    masked, bare = known(Label.MASK), known(Label.NO_MASK, x=200)
    bgr = NOISE.copy()
    anonymise(bgr, result_of(masked, bare), "masked")
    assert (inside(bgr, masked) != inside(NOISE, masked)).any()
    assert (inside(bgr, bare) == inside(NOISE, bare)).all()


def test_hidden_faces_are_anonymised_with_every_value_of_blur_but_none() -> None:
    hidden = known(Label.NO_MASK)
    for blur in ("all", "masked", "unmasked"):
        bgr = NOISE.copy()
        anonymise(bgr, result_of(hidden=(hidden,)), blur)
        assert np.ptp(inside(bgr, hidden).reshape(-1, 3), axis=0).max() == 0
    bgr = NOISE.copy()
    anonymise(bgr, result_of(hidden=(hidden,)), "none")
    assert (bgr == NOISE).all()


@pytest.mark.parametrize("box", [(-50, -50, 30, 30), (280, 180, 400, 300), (-1e7, -1e7, 1e7, 1e7)])
def test_faces_at_the_edge_and_beyond(box: tuple[float, float, float, float]) -> None:
    face = make_face(Label.UNKNOWN, box=box)
    bgr = NOISE.copy()
    anonymise(bgr, result_of(face), "all")
    x1, y1, x2, y2 = np.clip(box, 0, [299, 199, 299, 199]).astype(int)
    assert np.ptp(bgr[y1:y2, x1:x2].reshape(-1, 3), axis=0).max() == 0


def test_the_overlay_anonymises_first_and_draws_over_it() -> None:
    face = known(Label.NO_MASK)
    plain = Layer("test", {"overlay": {"labels": False}})
    config = load_config(layers=[plain, Layer("test", {"privacy": {"blur": "all"}})])
    frame = Frame(NOISE, 0, "door", 0.0)
    painted = Overlay(config).paint(frame, result_of(face))
    middle = painted[30:64, 40:60]
    assert np.ptp(middle.reshape(-1, 3), axis=0).max() == 0
    own = Overlay(SourceSettings(load_config(layers=[plain]), {"door": config}))
    assert (own.paint(frame, result_of(face)) == painted).all()
    assert (own.paint(replace(frame, source_id="lab"), result_of(face)) != painted).any()


def test_the_unfiltered_region_is_filled_wherever_the_smoothed_outline_is() -> None:
    """The face moves, jumps and trembles. What is shown of its unfiltered region does not depend on the pixels of the frame."""
    config = load_config(layers=[Layer("test", {"privacy": {"blur": "all"}})])
    overlays, random = (Overlay(config), Overlay(config)), np.random.default_rng(1)
    for index in range(40):
        x = 20 + 4 * index + (60 if index > 20 else 0) + random.normal(0, 3)
        face = replace(known(Label.MASK, x=x), track_id=1)
        left, top, right, bottom = face.quad_xy[[0, 2]].ravel().round().astype(int)
        regions = []
        for overlay in overlays:
            frame = Frame(random.integers(0, 256, (200, 400, 3)).astype(np.uint8), index, "door", index / 25)
            painted = overlay.paint(frame, FrameResult("door", index, frame.time_s, (face,)))
            regions.append(painted[top:bottom, left:right])
        assert regions[0].size > 0
        assert np.array_equal(*regions)


def crop_of(face: Face, *others: Face, blur: Blur = "none", store_crops: bool = True) -> bytes | None:
    output = Output(Frame(NOISE, 0, "door", 0.0), result_of(face, *others), True, lambda frame, _: frame.bgr)
    return stored_crop(output, face, PrivacyConfig(blur=blur, store_crops=store_crops, readable_by="owner"))


def test_crops_are_stored_only_if_the_settings_allow_it() -> None:
    face = known(Label.NO_MASK)
    crop = crop_of(face)
    assert crop is not None
    assert cv2.imdecode(np.frombuffer(crop, np.uint8), cv2.IMREAD_COLOR).shape == (160, 160, 3)
    assert crop_of(face, store_crops=False) is None
    assert crop_of(face, blur="all") is None
    assert crop_of(face, blur="unmasked") is None
    assert crop_of(face, blur="masked") is not None


def test_other_faces_in_a_crop_are_anonymised() -> None:
    face, other = known(Label.NO_MASK), known(Label.MASK, x=50)
    alone, beside = crop_of(face, blur="masked"), crop_of(face, other, blur="masked")
    assert alone != beside
    assert crop_of(face, other) == crop_of(face)


def test_a_frame_without_detection_is_not_shown() -> None:
    """A person may have appeared or moved since the last detection."""
    config = load_config(layers=[Layer("test", {"privacy": {"blur": "all"}})])
    overlay, frame = Overlay(config), Frame(NOISE, 0, "door", 0.0)
    between = Frame(NOISE[::-1].copy(), 1, "door", 0.04)
    unseen = overlay.paint(between, FrameResult("door", 1, 0.04, (), repeated=True))
    assert unseen.max() == 0
    looked_at = overlay.paint(frame, result_of(known(Label.MASK)))
    assert (overlay.paint(between, FrameResult("door", 1, 0.04, (), repeated=True)) == looked_at).all()
    other_size = Frame(NOISE[:100].copy(), 2, "door", 0.08)
    assert overlay.paint(other_size, FrameResult("door", 2, 0.08, (), repeated=True)).max() == 0
    plain = Overlay(load_config()).paint(between, FrameResult("door", 1, 0.04, (), repeated=True))
    assert (plain == between.bgr).all()


def test_new_settings_anonymise_from_the_next_frame_on_and_no_earlier_frame_is_shown_again() -> None:
    settings = SourceSettings(load_config())
    overlay = Overlay(settings)
    face = make_face(Label.NO_MASK, box=(20, 20, 60, 60))
    frame = Frame(np.full((100, 100, 3), 200, np.uint8), 0, "door", 0.0)
    result, unseen = FrameResult("door", 0, 0.0, (face,)), FrameResult("door", 1, 0.04, (face,), repeated=True)
    assert (overlay.paint(frame, result)[50, 40] == 200).all()
    settings.set("door", load_config(layers=[Layer.of_key("test", "privacy.blur", "all")]))
    anonymised = overlay.paint(frame, result)
    assert not (anonymised[50, 40] == 200).any()
    assert (overlay.paint(frame, unseen) == anonymised).all()
    settings.set("door", load_config(layers=[Layer.of_key("test", "privacy.blur", "masked")]))
    assert overlay.paint(frame, unseen)[90, 90].max() == 0
