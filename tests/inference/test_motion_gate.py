"""The detector rests where nothing happens, and misses nobody because of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from maskstream import MaskPipeline, load_config
from maskstream.benchmark.scenes import Scene, Visit, face_with_margin
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.evaluation.motion_metrics import RememberingAnalyzer, compare
from maskstream.events.detector import EventDetector
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.protocols import FrameAnalyzer
from maskstream.rendering.overlay import Overlay
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import BgrImage, Face, Frame, FrameResult, Label, Output
from tests.conftest import make_face

FPS = 10
BEGAN = datetime(2026, 11, 27, tzinfo=UTC)
EMPTY = Scene(np.asarray(np.random.default_rng(5).integers(90, 120, (18, 32, 3)), np.uint8).repeat(10, 0).repeat(10, 1))
BOX = Visit(np.full((40, 20, 3), 240, np.uint8), 40, 2, 4, (60, 60), (200, 90))
BUSY = replace(EMPTY, visits=[BOX])


class Finds:
    """An analyzer that finds what a function says, and records where it looked."""

    def __init__(self, found: Callable[[Frame], Sequence[Face]] = lambda _: (), hidden: bool = False) -> None:
        self.shown: list[tuple[str, int]] = []
        self._found, self._hidden = found, hidden

    def forget(self, source_id: str) -> None: ...

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        self.shown += [(frame.source_id, frame.index) for frame in frames]
        results = [FrameResult.of(frame, tuple(self._found(frame)), (), {}) for frame in frames]
        return [replace(each, faces=(), hidden=each.faces) if self._hidden else each for each in results]

    def times_s(self, source_id: str = "door") -> list[float]:
        return [index / FPS for name, index in self.shown if name == source_id]


def config(**detector: Any) -> Config:
    return load_config(layers=[Layer("test", {"detector": {"every": 2, "idle_s": 2.0, **detector}})])


def shot(scene: Scene, index: int, source_id: str = "door", live: bool = True) -> Frame:
    time_s = index / FPS
    wall_time = BEGAN + timedelta(seconds=time_s) if live else None
    return Frame(scene.at(time_s), index, source_id, time_s, wall_time=wall_time)


def watched(scene: Scene, seconds: float, settings: Config | SourceSettings, finds: Finds, **how: Any) -> list[FrameResult]:
    """Analyse a scene frame by frame, as of a camera."""
    analyzer = PropagatingAnalyzer(finds, settings)
    return [analyzer.analyze([shot(scene, index, **how)])[0] for index in range(round(seconds * FPS))]


def a_face() -> Face:
    return make_face(Label.MASK, box=(100, 60, 140, 105), left_eye=(130, 78), right_eye=(110, 78), nose=(120, 90))


def test_where_nothing_moves_the_detector_looks_once_in_idle_s() -> None:
    finds = Finds()
    results = watched(EMPTY, 9, config(), finds)
    assert finds.times_s() == [0, 2, 4, 6, 8]
    assert [result.rested for result in results[:3]] == [False, False, True]
    assert [result.unseen for result in results[:3]] == [False, True, True]
    assert not any(result.faces for result in results)


def test_where_something_moves_the_detector_runs_on_the_frames_that_it_would_run_on_anyway() -> None:
    finds, without = Finds(), Finds()
    watched(BUSY, 8, config(), finds)
    watched(BUSY, 8, config(motion=False), without)
    looked_s = set(finds.times_s())
    assert looked_s <= set(without.times_s())
    assert {time_s for time_s in without.times_s() if 2 <= time_s < 4} <= looked_s
    assert len(looked_s) < len(without.times_s())


def test_while_a_face_is_in_view_nothing_is_different() -> None:
    """Also where it stands perfectly still."""
    finds, without = Finds(lambda _: [a_face()]), Finds(lambda _: [a_face()])
    watched(replace(EMPTY, noise=0), 6, config(), finds)
    watched(replace(EMPTY, noise=0), 6, config(motion=False), without)
    assert finds.shown == without.shown


@pytest.mark.parametrize("hidden", [False, True], ids=["a face", "what may be a face"])
def test_the_detector_rests_three_seconds_after_the_last_face(hidden: bool) -> None:
    finds = Finds(lambda frame: [a_face()] if frame.time_s == 4 else (), hidden)
    watched(EMPTY, 10, config(), finds)
    assert [time_s for time_s in finds.times_s() if time_s >= 4] == [round(4 + 0.2 * n, 1) for n in range(15)] + [8.8]


def test_longer_tracks_keep_the_detector_awake_longer() -> None:
    finds = Finds(lambda frame: [a_face()] if frame.time_s == 0 else ())
    watched(EMPTY, 7, refine(config(), Layer.of_key("test", "tracking.lost_s", 5.0)), finds)
    assert [time_s for time_s in finds.times_s() if time_s > 3] == [round(3.2 + 0.2 * n, 1) for n in range(9)] + [6.8]


@pytest.mark.parametrize(
    ("motion", "live", "rests"),
    [("auto", True, True), ("auto", False, False), (True, True, True), (True, False, True), (False, True, False)],
)
def test_whether_the_detector_rests(motion: str | bool, live: bool, rests: bool) -> None:
    finds = Finds()
    results = watched(EMPTY, 2, config(motion=motion), finds, live=live)
    assert len(finds.shown) == (1 if rests else 10)
    assert any(result.rested for result in results) == rests


def test_the_detector_runs_on_all_images() -> None:
    finds = Finds()
    stills = [replace(shot(EMPTY, index), file=f"{index}.jpg") for index in range(5)]
    PropagatingAnalyzer(finds, config(motion=True)).analyze(stills)
    assert len(finds.shown) == 5


def test_each_camera_has_its_own_settings_and_its_own_background() -> None:
    finds = Finds()
    settings = SourceSettings(config(idle_s=1.0), {"yard": config(motion=False)})
    analyzer = PropagatingAnalyzer(finds, settings)
    for index in range(4 * FPS):
        scenes = {"door": EMPTY, "yard": EMPTY, "hall": BUSY}
        analyzer.analyze([shot(scene, index, name) for name, scene in scenes.items()])
    assert finds.times_s("door") == [0, 1, 2, 3]
    assert len(finds.times_s("yard")) == 1 + 20  # of the second camera, the second detection is a frame sooner
    assert len([time_s for time_s in finds.times_s("hall") if time_s >= 2]) == 10


def test_motion_outside_of_the_region_does_not_count() -> None:
    finds, elsewhere = Finds(), Finds()
    watched(BUSY, 4, config(region=[0.0, 0.7, 1.0, 1.0]), finds)
    watched(BUSY, 4, config(region=[0.0, 0.1, 1.0, 0.8]), elsewhere)
    assert finds.times_s() == [0, 2]
    assert len(elsewhere.times_s()) == 11


def test_the_detector_runs_on_the_first_frame_of_a_connection_of_a_size_and_of_other_settings() -> None:
    finds = Finds()
    settings = SourceSettings(config(idle_s=100.0))
    analyzer = PropagatingAnalyzer(finds, settings)
    small = Scene(np.ascontiguousarray(EMPTY.background[:90, :160]))
    for index in range(60):
        if index == 45:
            settings.set("door", config(idle_s=100.0))
        if index == 53:
            analyzer.forget("door")
        frame = shot(small if index >= 31 else EMPTY, index)
        analyzer.analyze([replace(frame, connection=int(index >= 17))])
    assert finds.times_s() == [0, 1.7, 3.1, 4.5, 5.3]


def test_no_face_of_long_ago_is_kept_where_frames_are_rare() -> None:
    """A face was there in the last frame that the detector ran on, and the detector was awake for a while only."""
    finds = Finds(lambda frame: [a_face()] if frame.time_s < 1 else ())
    analyzer = PropagatingAnalyzer(finds, config(idle_s=100.0))
    for index in (0, 50, 100, 150):
        (result,) = analyzer.analyze([shot(EMPTY, index)])
        assert bool(result.faces) == (index == 0)
    assert finds.times_s() == [0, 5]


def test_in_a_batch_the_detector_does_not_rest_before_a_result_is_known() -> None:
    """Something passes at 2 s. There may be a face then: the other frames of the batch are not left out."""
    finds = Finds()
    analyzer = PropagatingAnalyzer(finds, config(motion=True, idle_s=100.0))
    passing = replace(EMPTY, noise=0.0, visits=[replace(BOX, end_s=2.1)])
    frames = [shot(passing, index, live=False) for index in range(4 * FPS)]
    results = [result for start in range(0, 40, 10) for result in analyzer.analyze(frames[start : start + 10])]
    assert finds.times_s() == [round(0.2 * n, 1) for n in (*range(5), *range(10, 15))]
    assert [result.index for result in results] == list(range(40))


class TestPrivacy:
    """A face that nobody has looked for is not shown."""

    def test_auto_does_not_rest_where_faces_are_anonymised(self) -> None:
        finds = Finds()
        watched(EMPTY, 2, refine(config(), Layer.of_key("test", "privacy.blur", "all")), finds)
        assert len(finds.shown) == 2 * FPS

    @pytest.mark.parametrize("blur", ["all", "masked", "unmasked"])
    def test_pixels_of_a_frame_without_detection_are_not_shown(self, blur: str) -> None:
        """Also of a change that is too small to be seen: the picture stands until the detector has looked."""
        settings = refine(config(motion=True, motion_threshold=255.0), Layer.of_key("test", "privacy.blur", blur))
        overlay, finds = Overlay(settings), Finds(lambda frame: [a_face()] if frame.time_s >= 2.5 else ())
        analyzer = PropagatingAnalyzer(finds, settings)
        scene = replace(BUSY, noise=0)
        shown: list[BgrImage] = []
        for index in range(5 * FPS):
            frame = shot(scene, index)
            shown.append(overlay.paint(frame, analyzer.analyze([frame])[0]))
        looked = set(finds.times_s())
        assert {0.0, 2.0, 4.0} <= looked
        assert 2.2 not in looked
        for index in range(1, 5 * FPS):
            if index / FPS not in looked:
                assert np.array_equal(shown[index], shown[index - 1])

    def test_no_crop_is_stored_of_a_frame_without_detection(self) -> None:
        finds = Finds()
        results = watched(EMPTY, 1, refine(config(motion=True), Layer.of_key("test", "privacy.blur", "all")), finds)
        assert all(result.unseen for result in results[1:])


def test_real_faces_are_found_as_soon_as_without_rests(pipeline: MaskPipeline, demo_frames: list[Frame]) -> None:
    """The same faces, tracks, labels and events, with fewer detections."""
    result = pipeline.analyzer.analyze(demo_frames[:1])[0]
    face = max(result.faces, key=lambda each: each.detection.score)
    picture = face_with_margin(demo_frames[0], face)
    rough = np.random.default_rng(2).integers(80, 150, (9, 16, 3)).astype(np.uint8)
    visits = [Visit(picture, 80, 2, 4, (150, 100), (400, 200)), Visit(picture, 48, 9, 11, (500, 220), (500, 220))]
    scene = Scene(rough.repeat(40, 0).repeat(40, 1), visits)
    frames = [shot(scene, index) for index in range(13 * FPS)]
    analyzer = RememberingAnalyzer(pipeline.analyzer)
    runs, requests = [], []
    for motion in (False, True):
        analyzer.forget("door")
        runs.append(events_of(frames, analyzer, config(every=3, motion=motion)))
        requests.append(len(analyzer.requested))
    found = compare(*runs)
    assert (found.late_s, found.changed_events, found.faces) == ([], [], 2)
    assert any(not each.judged for result in runs[1][0] for each in result.faces)
    assert requests[1] < 0.9 * requests[0]


def events_of(frames: Sequence[Frame], analyzer: FrameAnalyzer, settings: Config) -> Any:
    people, events = PeopleAnalyzer(PropagatingAnalyzer(analyzer, settings), settings), EventDetector(settings)
    results, published = [], []
    for frame in frames:
        (result,) = people.analyze([frame])
        results.append(result)
        output = Output(frame, result, True, lambda frame, _: frame.bgr)
        published += [(frame.time_s, each) for each in events.detect(output)]
    return results, published
