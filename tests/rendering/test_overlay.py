from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from maskstream import Analyzer, load_config
from maskstream.config.loading import Layer
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.rendering.overlay import COLOURS_BGR, Overlay
from maskstream.stream.engine import Engine
from maskstream.stream.sink_group import SinkBinding
from maskstream.types import COCO_KEYPOINTS, BgrImage, Detection, Face, Frame, FrameResult, Label
from tests.conftest import make_face, make_frame
from tests.inference.test_analyzer import GivenClassifier
from tests.rendering.test_anonymised_pixels import Film, FindsSkin, Shot, scene
from tests.stream.test_engine import ListSink


def overlay(**settings: bool) -> Overlay:
    plain = {"labels": False, "keypoints": False, "skeleton": False}
    layers = [Layer("test", {"overlay": {**plain, **settings}})]
    return Overlay(load_config(layers=layers))


def paint(face: Face, size: tuple[int, int] = (200, 160), painter: Overlay | None = None) -> BgrImage:
    frame = make_frame(0, *size)
    return (painter or overlay()).paint(frame, FrameResult("made", 0, 0.0, (face,)))


def share(bgr: BgrImage, colour: tuple[int, int, int]) -> float:
    return float((np.abs(bgr.astype(int) - colour).max(axis=2) < 40).mean())


@pytest.mark.parametrize("label", list(Label))
def test_the_outline_has_the_colour_of_its_label(label: Label) -> None:
    assert share(paint(make_face(label)), COLOURS_BGR[label]) > 0.004


def test_the_outline_is_on_the_classified_region() -> None:
    bgr = paint(make_face(box=(28, 20, 72, 74)))
    rows, columns = np.nonzero(np.abs(bgr.astype(int) - COLOURS_BGR[Label.MASK]).max(axis=2) < 40)
    assert [columns.min(), columns.max(), rows.min(), rows.max()] == pytest.approx([28, 72, 20, 74], abs=2)


@pytest.mark.parametrize(
    ("every", "stride", "since", "is_solid"),
    [(3, 1, 0, True), (3, 1, 2, True), (3, 1, 3, False), (1, 1, 1, False), (3, 2, 3, True), (3, 2, 4, False), (1, 5, 4, True)],
)
def test_an_outline_is_dashed_if_the_last_detection_is_older_than_the_settings_promise(
    every: int, stride: int, since: int, is_solid: bool
) -> None:
    layers = [Layer("test", {"overlay": {"labels": False}, "detector": {"every": every}, "stream": {"stride": stride}})]
    face = replace(make_face(judged=False), frames_since_detection=since)
    whole = share(paint(make_face()), COLOURS_BGR[Label.MASK])
    found = share(paint(face, painter=Overlay(load_config(layers=layers))), COLOURS_BGR[Label.MASK])
    assert found == whole if is_solid else found < 0.75 * whole


@pytest.mark.parametrize(("every", "stride"), [(3, 1), (3, 2), (1, 5), (4, 3)])
def test_the_outline_of_a_face_at_rest_does_not_flicker(every: int, stride: int) -> None:
    """A run of a file: detections, propagated faces, and the frames between that `stream.stride` leaves out."""
    layers = [Layer("test", {"overlay": {"labels": False}, "detector": {"every": every}, "stream": {"stride": stride}})]
    config, sink = load_config(layers=layers), ListSink()
    bgr = scene([(120, 80)])
    judge = PropagatingAnalyzer(Analyzer(FindsSkin(), GivenClassifier(), config), config)
    engine = Engine(judge, Overlay(config).paint, config.stream, 4)
    engine.add([Film([Shot(bgr, 13)], live=False)], [SinkBinding(sink, None)])
    engine.run()
    judged = [output.result.faces[0].judged for output in sink.outputs]
    assert set(judged) == {True, False}
    assert len({share(output.annotated_bgr, COLOURS_BGR[Label.MASK]) for output in sink.outputs}) == 1


def test_the_frame_is_not_modified() -> None:
    frame = make_frame(0, 200, 160)
    overlay().paint(frame, FrameResult("made", 0, 0.0, (make_face(),)))
    assert (frame.bgr == 0).all()


def test_every_label_has_a_symbol_of_its_own() -> None:
    labels = {label: paint(make_face(label), painter=overlay(labels=True)) for label in Label}
    for a, b in combinations(Label, 2):
        shape_a, shape_b = (np.abs(labels[label].astype(int) - COLOURS_BGR[label]).max(axis=2) < 40 for label in (a, b))
        assert (shape_a != shape_b).any()


@pytest.mark.parametrize("box", [(28, -30, 72, 24), (-20, 60, 24, 114), (180, 120, 240, 190), (300, 300, 340, 350)])
def test_the_label_stays_in_the_frame(box: tuple[float, float, float, float]) -> None:
    without, labelled = (paint(make_face(box=box), painter=overlay(labels=on)) for on in (False, True))
    rows, columns = np.nonzero((without != labelled).any(axis=2))
    assert len(rows) > 100
    assert labelled.shape == (160, 200, 3)
    assert columns.max() - columns.min() > 30


def test_lines_and_text_grow_with_the_frame() -> None:
    small = paint(make_face(box=(140, 100, 360, 370)), (1000, 800), overlay(labels=True))
    large = paint(make_face(box=(280, 200, 720, 740)), (2000, 1600), overlay(labels=True))
    ratio = share(large, COLOURS_BGR[Label.MASK]) / share(small, COLOURS_BGR[Label.MASK])
    assert 0.3 < ratio < 3


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (2, 400)])
def test_tiny_frames_are_no_error(size: tuple[int, int]) -> None:
    assert paint(make_face(), size, overlay(labels=True, keypoints=True)).shape == (size[1], size[0], 3)


def test_values_that_are_not_finite_are_not_drawn() -> None:
    face = make_face(nose=(float("nan"), 3))
    broken = Face(face.detection, np.full((4, 2), np.nan, np.float32), face.face_box_xyxy, Label.UNKNOWN, None)
    assert (paint(broken, painter=overlay(labels=True)) == 0).all()
    assert np.isfinite(paint(face, painter=overlay(keypoints=True))).all()


def test_keypoints_and_skeleton_are_drawn_if_enabled_and_certain() -> None:
    points = np.stack([np.linspace(10, 150, 17), np.linspace(150, 10, 17)], axis=1).astype(np.float32)
    frame, box = Frame(np.zeros((160, 200, 3), np.uint8), 0, "x", 0.0), np.array([5, 5, 190, 150], np.float32)

    def painted(score: float, **settings: bool) -> int:
        person = Detection(box, 0.9, points, np.full(17, score, np.float32), COCO_KEYPOINTS)
        face = Face(person, np.full((4, 2), np.nan, np.float32), box, Label.UNKNOWN, None)
        return int(overlay(**settings).paint(frame, FrameResult("x", 0, 0.0, (face,))).any(axis=2).sum())

    assert painted(0.9) == 0
    assert painted(0.9, keypoints=True) > 100
    assert painted(0.9, skeleton=True) > 100
    assert painted(0.1, keypoints=True, skeleton=True) == 0


def with_zones(painter_zones: dict[str, list[list[float]]], size: tuple[int, int] = (700, 400)) -> BgrImage:
    layer = Layer("test", {"zones": painter_zones, "overlay": {"labels": False}})
    frame = Frame(np.full((size[1], size[0], 3), 150, np.uint8), 0, "made", 0.0)
    return Overlay(load_config(layers=[layer])).paint(frame, FrameResult("made", 0, 0.0, ()))


@pytest.mark.parametrize("name", ["the door on the left", "大门 Größe 😀", "مدخل", "x" * 500])
def test_the_name_of_a_zone_is_white_on_dark_ground_in_the_frame(name: str) -> None:
    corner = [[0.01, 0.1], [0.99, 0.1], [0.99, 0.9], [0.01, 0.9]]
    named = with_zones({name: corner})
    inside = named[46:340, 16:684]
    ground = np.nonzero((inside < 100).all(axis=2))
    assert 10 < np.ptp(ground[0]) < 40
    area = inside[ground[0].min() : ground[0].max(), ground[1].min() : ground[1].max()]
    assert (area > 200).all(axis=2).sum() > 20
    assert (named != with_zones({"?": corner})).any()


def test_names_of_zones_that_share_a_corner_do_not_overlap() -> None:
    shape = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
    one, two = with_zones({"entrance": shape}), with_zones({"entrance": shape, "queue": shape})
    grounds = [((bgr[50:350, 80:620] > 50) & (bgr[50:350, 80:620] < 70)).all(axis=2) for bgr in (one, two)]
    assert (grounds[1] & grounds[0] == grounds[0]).all()
    assert grounds[1].sum() > 1.3 * grounds[0].sum()


def test_what_is_drawn_of_a_person_has_one_size_in_all_frames() -> None:
    """The box trembles and the face comes closer: neither the thickness of lines nor the size of the label changes."""
    painters = [overlay(labels=on) for on in (False, True)]
    labels, lines = set(), []
    random = np.random.default_rng(0)
    for index in range(12):
        half = 30 + 2 * index + random.normal(0, 0.5)
        face = replace(make_face(Label.NO_MASK, box=(150 - half, 200 - half, 150 + half, 200 + half)), track_id=1)
        frame = Frame(np.zeros((360, 400, 3), np.uint8), index, "made", index / 25)
        bare, labelled = (painter.paint(frame, FrameResult("made", index, frame.time_s, (face,))) for painter in painters)
        rows, columns = np.nonzero((bare != labelled).any(axis=2))
        labels.add((np.ptp(rows), np.ptp(columns)))
        lines.append(int((bare[200, :, 2] > 100).sum()))  # both sides of the outline
    assert len(labels) == 1
    assert max(lines) - min(lines) <= 2  # each side lies between two columns of pixels, or on one more


def test_a_lost_face_fades_and_is_gone_after_half_a_second() -> None:
    painter, face = overlay(), replace(make_face(), track_id=1)
    strength = []
    for index in range(40):
        frame = Frame(np.zeros((160, 200, 3), np.uint8), index, "made", index / 25)
        result = FrameResult("made", index, frame.time_s, (face,) if index < 20 else ())
        strength.append(int(painter.paint(frame, result)[:, :, 0].max()))
    assert len(set(strength[:20])) == 1
    assert strength[19] > strength[21] > strength[26] > strength[39] == 0


def test_drawing_does_not_change_the_result() -> None:
    """Records have the unfiltered values."""
    painter = overlay(labels=True)
    for index, shift in enumerate((0, 3, -3, 1)):
        face = replace(make_face(box=(28 + shift, 20, 72 + shift, 74)), track_id=1)
        before, result = face.quad_xy.copy(), FrameResult("made", index, index / 25, (face,))
        painter.paint(make_frame(index, 200, 160), result)
        assert result.faces == (face,)
        assert np.array_equal(face.quad_xy, before)
