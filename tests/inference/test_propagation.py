"""Faces between two detections move with the image."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from maskstream import MaskPipeline, load_config
from maskstream.config.loading import Layer, refine
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import OutOfMemory
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.protocols import FrameAnalyzer
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import BgrImage, Face, Frame, FrameResult, Label
from tests.conftest import make_face

SIZE = (320, 240)
BOX = (120.0, 80.0, 190.0, 165.0)


class Detections:
    """Finds the same faces in every frame, and records which frames it was given."""

    def __init__(self, *faces: Face) -> None:
        self.shown: list[tuple[str, int]] = []
        self.calls = 0
        self.forgotten: list[str] = []
        self._faces = faces

    def forget(self, source_id: str) -> None:
        self.forgotten.append(source_id)

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        self.calls += 1
        self.shown += [(frame.source_id, frame.index) for frame in frames]
        return [
            FrameResult(frame.source_id, frame.index, frame.time_s, self._faces, timing_ms={"capture": 0.0}) for frame in frames
        ]


def propagating(analyzer: FrameAnalyzer, every: int) -> PropagatingAnalyzer:
    return PropagatingAnalyzer(analyzer, load_config(layers=[Layer.of_key("test", "detector.every", every)]))


def image(matrix: NDArray[np.float64] | None = None, seed: int = 1) -> BgrImage:
    """Something with detail everywhere, moved."""
    rough = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), np.uint8)
    smooth = cv2.resize(rough, SIZE, interpolation=cv2.INTER_CUBIC)
    if matrix is not None:
        smooth = cv2.warpAffine(smooth, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(smooth, np.uint8)


def frame(bgr: BgrImage, index: int, source_id: str = "a") -> Frame:
    return Frame(bgr, index, source_id, index / 25)


def a_face(label: Label = Label.MASK) -> Face:
    return make_face(label, box=BOX, left_eye=(170, 110), right_eye=(140, 110), nose=(155, 128))


def moved(face: Face, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(face.detection.keypoints_xy @ matrix[:, :2].T + matrix[:, 2])


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [(0, 1, (0, 0)), (0, 1, (9.5, -6.25)), (6, 1, (0, 0)), (0, 1.08, (3, 2)), (-5, 0.94, (-8, 4))],
)
def test_a_face_moves_with_the_image(degrees: float, scale: float, shift: tuple[float, float]) -> None:
    face = a_face()
    matrix = cv2.getRotationMatrix2D((155, 122), degrees, scale)
    matrix[:, 2] += shift
    analyzer = propagating(Detections(face), 2)
    judged, propagated = analyzer.analyze([frame(image(), 0), frame(image(matrix), 1)])
    assert judged.faces == (face,)
    (found,) = propagated.faces
    assert (found.judged, found.label, found.confidence) == (False, face.label, face.confidence)
    np.testing.assert_allclose(found.detection.keypoints_xy, moved(face, matrix), atol=0.7)
    corners = face.quad_xy @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(found.quad_xy, corners, atol=1.2)
    middle = np.array([155, 122.5]) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose((found.face_box_xyxy[:2] + found.face_box_xyxy[2:]) / 2, middle, atol=0.7)
    np.testing.assert_allclose(found.face_box_xyxy[2:] - found.face_box_xyxy[:2], np.array([70, 85]) * scale, rtol=0.03)
    assert set(propagated.timing_ms) == {"capture", "detect", "align", "classify", "total"}
    assert (propagated.source_id, propagated.index, propagated.time_s) == ("a", 1, 1 / 25)


def test_faces_of_a_large_frame_are_propagated_in_its_own_pixels() -> None:
    small = image()
    large = [np.asarray(cv2.resize(each, None, fx=4, fy=4), np.uint8) for each in (small, np.roll(small, 5, axis=1))]
    face = make_face(box=tuple(4 * side for side in BOX))  # type: ignore[arg-type]
    propagated = propagating(Detections(face), 2).analyze([frame(each, index) for index, each in enumerate(large)])[1]
    np.testing.assert_allclose(propagated.faces[0].face_box_xyxy, face.face_box_xyxy + np.array([20, 0, 20, 0]), atol=1)


def test_movement_adds_up_over_several_frames() -> None:
    shifts = [np.array([[1, 0, 4.0 * n], [0, 1, -2.0 * n]]) for n in range(6)]
    results = propagating(Detections(a_face()), 6).analyze([frame(image(matrix), n) for n, matrix in enumerate(shifts)])
    np.testing.assert_allclose(results[5].faces[0].detection.keypoints_xy, moved(a_face(), shifts[5]), atol=1)


def test_the_detector_runs_on_every_third_frame_of_each_source() -> None:
    detections = Detections(a_face())
    analyzer = propagating(detections, 3)
    for index in range(7):
        results = analyzer.analyze([frame(image(), index, "a"), *([frame(image(), index, "b")] if index % 2 else [])])
        assert [result.source_id for result in results] == ["a", "b"][: len(results)]
        assert results[0].faces[0].judged == (index % 3 == 0)
    assert detections.shown == [("a", 0), ("b", 1), ("a", 3), ("b", 5), ("a", 6)]


def test_frames_that_are_left_out_count() -> None:
    """With a stride of two, or frames that came too fast, the detector runs as soon as a frame is due."""
    detections = Detections(a_face())
    analyzer = propagating(detections, 3)
    for index in (0, 2, 4, 5, 9, 10, 12, 1, 2):  # the last ones: a source that begins anew
        analyzer.analyze([frame(image(), index)])
    assert [index for _, index in detections.shown] == [0, 4, 9, 12, 1]


def test_the_detector_runs_once_on_all_due_frames_of_a_batch() -> None:
    detections = Detections(a_face())
    results = propagating(detections, 2).analyze([frame(image(), index) for index in range(6)])
    assert detections.calls == 1
    assert [index for _, index in detections.shown] == [0, 2, 4]
    assert [result.faces[0].judged for result in results] == [True, False] * 3


def test_after_a_cut_nothing_is_propagated() -> None:
    results = propagating(Detections(a_face()), 3).analyze([frame(image(), 0), frame(image(seed=2), 1), frame(image(seed=2), 2)])
    assert [len(result.faces) for result in results] == [1, 0, 0]
    assert [len(result.hidden) for result in results] == [0, 1, 1]  # until the next detection


def test_a_face_that_leaves_the_image_is_given_up_and_the_other_stays() -> None:
    at_edge = make_face(Label.NO_MASK, box=(2, 80, 62, 150))
    matrix = np.array([[1, 0, -55.0], [0, 1, 0]])
    halfway = np.array([[1, 0, -27.0], [0, 1, 0]])
    results = propagating(Detections(at_edge, a_face()), 3).analyze(
        [frame(image(), 0), frame(image(halfway), 1), frame(image(matrix), 2)]
    )
    assert [face.label for face in results[2].faces] == [Label.MASK]


def detected(frames: Sequence[Frame], every: int = 10) -> list[int]:
    """Return the indices of the frames that the detector runs on, the same for one batch and for single frames."""
    together, alone = Detections(a_face()), Detections(a_face())
    propagating(together, every).analyze(frames)
    one_by_one = propagating(alone, every)
    for each in frames:
        one_by_one.analyze([each])
    assert alone.shown == together.shown
    return [index for _, index in together.shown]


def test_the_detector_runs_on_a_frame_of_another_size() -> None:
    other = np.asarray(cv2.resize(image(), (160, 120)), np.uint8)
    assert detected([frame(bgr, index) for index, bgr in enumerate([image(), other, other, image(), image()])]) == [
        0,
        1,
        3,
    ]


def test_the_detector_runs_on_the_first_frame_of_a_connection() -> None:
    frames = [replace(frame(image(), index), connection=number) for index, number in enumerate([4, 4, 5, 5, 5, 4, 4])]
    assert detected(frames) == [0, 2, 5]


@pytest.mark.parametrize(
    ("times_s", "indices"),
    [
        ([0.0, 0.04, 0.5, 0.54], [0]),
        ([0.0, 0.04, 0.6, 0.64], [0, 2]),
        ([0.0, 0.04, 300.0, 300.04], [0, 2]),
        ([9.0, 9.04, 0.0, 0.04], [0, 2]),
        ([0.0, 1.0, 2.0, 3.0], [0, 1, 2, 3]),
    ],
    ids=["as fast as it comes", "a gap", "minutes", "back", "a frame a second"],
)
def test_the_detector_runs_after_a_gap(times_s: list[float], indices: list[int]) -> None:
    assert detected([replace(frame(image(), index), time_s=time_s) for index, time_s in enumerate(times_s)]) == indices


def test_the_detector_runs_on_every_frame_where_faces_are_anonymised() -> None:
    """A person may come into view between two detections. The setting holds for each source as soon as it is set."""
    detections = Detections(a_face())
    settings = SourceSettings(load_config(layers=[Layer.of_key("test", "detector.every", 3)]))
    analyzer = PropagatingAnalyzer(detections, settings)
    covered = load_config(layers=[Layer.of_key("test", "privacy.blur", "unmasked")])
    settings.set("b", covered)
    for index in range(3):
        analyzer.analyze([frame(image(), index, "a"), frame(image(), index, "b")])
    settings.set("a", covered)
    analyzer.analyze([frame(image(), 4, "a"), frame(image(), 5, "a")])
    assert detections.shown == [("a", 0), ("b", 0), ("b", 1), ("b", 2), ("a", 4), ("a", 5)]


def test_the_detector_runs_on_the_next_frame_after_the_settings_of_a_source_have_changed() -> None:
    """Faces that were found with other settings, such as a lower `detector.min_score`, are not propagated."""
    detections = Detections(a_face())
    settings = SourceSettings(load_config(layers=[Layer.of_key("test", "detector.every", 10)]))
    analyzer = PropagatingAnalyzer(detections, settings)
    for index in range(8):
        if index in (3, 5):
            settings.set("a", load_config(layers=[Layer.of_key("test", "detector.every", 10)]))
        analyzer.analyze([frame(image(), index, "a"), frame(image(), index, "b")])
    assert detections.shown == [("a", 0), ("b", 0), ("a", 3), ("a", 5)]


def test_a_propagated_frame_is_marked_with_the_frames_since_the_detection() -> None:
    results = propagating(Detections(a_face()), 4).analyze([frame(image(), index) for index in (0, 1, 3, 4, 6)])
    assert [result.unseen for result in results] == [False, True, True, False, True]
    assert [result.faces[0].frames_since_detection for result in results] == [0, 1, 3, 0, 2]


def test_hidden_faces_are_propagated_too() -> None:
    class Hides(Detections):
        def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
            return [replace(result, faces=(), hidden=result.faces) for result in super().analyze(frames)]

    shift = np.array([[1, 0, 12.0], [0, 1, 5.0]])
    results = propagating(Hides(a_face()), 3).analyze([frame(image(), 0), frame(image(shift), 1)])
    assert results[1].faces == ()
    assert (results[1].hidden[0].face_box_xyxy - BOX).tolist() == pytest.approx([12, 5, 12, 5], abs=0.5)


def test_the_detector_runs_on_all_images_of_a_folder() -> None:
    detections = Detections(a_face())
    stills = [replace(frame(image(), index), file=f"{index}.jpg") for index in range(3)]
    assert all(result.faces[0].judged for result in propagating(detections, 3).analyze(stills))


def test_the_detector_runs_again_on_the_frames_of_a_batch_that_was_too_large() -> None:
    class Small(Detections):
        def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
            if len(frames) > 1:
                raise OutOfMemory("too many")
            return super().analyze(frames)

    detections = Small(a_face())
    analyzer = propagating(detections, 2)
    shown = [frame(image(), index) for index in range(4)]
    with pytest.raises(OutOfMemory):
        analyzer.analyze(shown)
    results = analyzer.analyze(shown[:2]) + analyzer.analyze(shown[2:])
    assert [result.faces[0].judged for result in results] == [True, False] * 2


def test_no_face_is_propagated_from_a_removed_camera_of_the_same_name() -> None:
    seen = Detections(a_face())
    analyzer = propagating(seen, 3)
    analyzer.analyze([frame(image(), 0), frame(image(), 0, "b")])
    analyzer.forget("a")
    analyzer.forget("never seen")
    first, other = analyzer.analyze([frame(image(seed=2), 1), frame(image(), 1, "b")])
    assert seen.shown == [("a", 0), ("b", 0), ("a", 1)]
    assert [face.judged for face in (*first.faces, *other.faces)] == [True, False]
    assert seen.forgotten == ["a", "never seen"]


@pytest.mark.parametrize("detector", [{"every": 1}, {"every": 3}, {"every": 3, "motion": True}], ids=str)
def test_batches_that_overlap_have_the_results_of_batches_that_follow_one_another(
    pipeline: MaskPipeline, demo_frames: list[Frame], detector: dict[str, Any]
) -> None:
    """With the models themselves, whose detector runs on the second batch while the first one is classified and tracked."""
    config = load_config(layers=[Layer("test", {"detector": detector})])
    analyzers = [PeopleAnalyzer(PropagatingAnalyzer(pipeline.analyzer, config), config) for _ in range(2)]
    assert all(each.is_asynchronous for each in analyzers)
    batches = [demo_frames[start : start + 4] for start in range(0, 24, 4)]
    expected = [timeless(analyzers[0].analyze(batch)) for batch in batches]
    assert sum(len(result["faces"]) for batch in expected for result in batch) > 48
    begun, found = deque[Callable[[], list[FrameResult]]](), []
    for batch in batches:
        begun.append(analyzers[1].begin(batch))
        if len(begun) > 1:
            found.append(timeless(begun.popleft()()))
    found.append(timeless(begun.popleft()()))
    assert found == expected


def test_the_detections_of_cameras_that_begin_together_are_spread_over_their_frames() -> None:
    detections, still = Detections(), image()
    analyzer = PropagatingAnalyzer(detections, load_config(layers=[Layer("test", {"detector": {"every": 3, "motion": False}})]))
    now = datetime(2026, 11, 27, tzinfo=UTC)
    for index in range(9):
        detections.shown.append(("frame", index))
        analyzer.analyze([replace(frame(still, index, f"camera {number}"), wall_time=now) for number in range(6)])
    per_frame = "".join(name[-1] if name != "frame" else " " for name, _ in detections.shown).split()
    assert per_frame == ["012345", "25", "14", "03", "25", "14", "03", "25", "14"]


def test_the_detections_of_a_file_do_not_depend_on_other_files() -> None:
    detections, still = Detections(), image()
    analyzer = propagating(detections, 3)
    for index in range(6):
        analyzer.analyze([frame(still, index, name) for name in ("a", "b")])
    assert detections.shown == [("a", 0), ("b", 0), ("a", 3), ("b", 3)]


def timeless(results: Sequence[FrameResult]) -> list[dict[str, Any]]:
    """Return what is in results, without the times of their stages, to be compared exactly."""
    plain = [asdict(replace(result, timing_ms={})) for result in results]
    return [json.loads(json.dumps(each, default=lambda value: value.tolist())) for each in plain]


def test_a_batch_on_which_the_detector_may_rest_waits_for_the_results_before_it() -> None:
    """Whether it rests depends on them: on the third frame it rests, as the first one has no face."""
    steps: list[str] = []

    class Begins(Detections):
        is_asynchronous = True

        def begin(self, frames: Sequence[Frame]) -> Callable[[], list[FrameResult]]:
            steps.extend(f"begin {frame.index}" for frame in frames)

            def results() -> list[FrameResult]:
                steps.extend(f"found {frame.index}" for frame in frames)
                return self.analyze(frames)

            return results

    still = image()
    layer = Layer("test", {"detector": {"every": 1, "motion": True}})
    for motion, expected in {
        True: ["begin 0", "found 0"],
        False: ["begin 0", "begin 1", "begin 2", "found 0", "found 1", "found 2"],
    }.items():
        steps.clear()
        analyzer = PropagatingAnalyzer(
            Begins(), refine(load_config(layers=[layer]), Layer.of_key("test", "detector.motion", motion))
        )
        results = [analyzer.begin([frame(still, index)]) for index in range(3)]
        assert [len(each()) for each in results] == [1, 1, 1]
        assert steps == expected
