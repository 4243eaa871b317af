"""With `privacy.blur: all`, no frame, tile or crop shows a pixel of a face, whatever happens to sources and models."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import cv2
import numpy as np
import pytest

from maskstream.clock import Clock
from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import OutOfMemory, StreamLost
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.protocols import FrameAnalyzer
from maskstream.rendering.anonymize import stored_crop
from maskstream.rendering.grid import Cell, draw_grid
from maskstream.rendering.overlay import Overlay
from maskstream.sources.reconnecting import ReconnectingSource, ReconnectPolicy
from maskstream.stream.engine import Engine
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import FACE_KEYPOINTS, BgrImage, Detection, Frame, FrameResult, Output, SourceInfo
from tests.clocks import ManualClock
from tests.inference.test_analyzer import GivenClassifier
from tests.sources.test_reconnecting import taken
from tests.stream.test_engine import ListSink

SKIN: Final = (40, 90, 250)
"""The colour of faces. Nothing else in the frames has it."""
FACE_PX: Final = 40
Places = Sequence[tuple[int, int]]


def scene(places: Places, size: tuple[int, int] = (320, 240), seed: int = 1) -> BgrImage:
    """Return a frame with a face at each place (left, top)."""
    rough = np.random.default_rng(seed).integers(0, 120, (30, 40, 3), np.uint8)
    bgr = np.asarray(cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    for x, y in places:
        bgr[y : y + FACE_PX, x : x + FACE_PX] = SKIN
    return bgr


def skin(bgr: BgrImage) -> int:
    """Return the number of pixels of faces in an image."""
    return int((np.abs(bgr.astype(int) - SKIN).max(2) < 30).sum())


class FindsSkin:
    """A detector that finds the faces of `scene` and nothing else."""

    keypoint_names = FACE_KEYPOINTS

    def __init__(self, most: int | None = None, broken: Callable[[int], bool] = lambda _: False) -> None:
        self.calls = 0
        self._most = most
        self._broken = broken

    def detect(self, images_bgr: Sequence[BgrImage]) -> list[list[Detection]]:
        if self._most is not None and len(images_bgr) > self._most:
            raise OutOfMemory("too many")
        return [self._found(each) for each in images_bgr]

    def _found(self, bgr: BgrImage) -> list[Detection]:
        self.calls += 1
        mask = (np.abs(bgr.astype(int) - SKIN).max(2) < 30).astype(np.uint8)
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:].tolist()]
        return [_detection(np.nan if self._broken(self.calls) else x1, y1, x2, y2) for x1, y1, x2, y2 in boxes]

    def admit(self, min_score: float, max_faces: int) -> None:
        """Do nothing: all faces are found anyway."""


def _detection(x1: float, y1: float, x2: float, y2: float) -> Detection:
    width, height = x2 - x1, y2 - y1
    points = [(x1 + share * width, y1 + down * height) for share, down in ((0.5, 0.6), (0.7, 0.4), (0.3, 0.4))]
    box, keypoints = np.array([x1, y1, x2, y2], np.float32), np.array(points, np.float32)
    return Detection(box, 0.9, keypoints, np.full(3, 0.9, np.float32), FACE_KEYPOINTS)


@dataclass
class Shot:
    """One image that a source shows for a number of frames."""

    bgr: BgrImage
    frames: int
    before_s: float = 0.0
    """Seconds without a frame before this shot."""


class Film:
    """A source that shows shots in sequence: a file, or one connection of a camera."""

    def __init__(self, shots: Sequence[Shot], live: bool, clock: Clock | None = None) -> None:
        height, width = shots[0].bgr.shape[:2]
        self.info = SourceInfo("door", width, height, live, average_fps=25)
        self._shots, self._clock = shots, clock

    def __iter__(self) -> Iterator[Frame]:
        index, time_s = 0, 0.0
        for shot in self._shots:
            time_s += shot.before_s
            for _ in range(shot.frames):
                at_s = 0.0 if self._clock is None else self._clock.now_s()
                yield Frame(shot.bgr, index, "door", time_s, 0.04, at_s)
                index, time_s = index + 1, time_s + 0.04
        if self.info.live:
            raise StreamLost("door: lost")

    def close(self) -> None:
        """Do nothing: nothing is open."""


class Shows(ListSink):
    """Keeps what is shown: the annotated frame, a tile of the window, the crops of events."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.skin: list[int] = []
        self.captured: list[int] = []
        self._cell = Cell(SourceInfo("door", 320, 240, live=True))
        self._config = config

    def write(self, output: Output) -> None:
        super().write(output)
        self._cell.take(output, 0.0)
        tile = draw_grid([self._cell], (320, 240), 0.0, paused=False)
        self.skin.append(max(skin(output.annotated_bgr), skin(tile)))
        self.captured.append(skin(output.frame.bgr))
        assert [stored_crop(output, face, self._config.privacy) for face in output.result.faces] == [None] * len(
            output.result.faces
        )


def settings(**sections: Any) -> Config:
    values = {"privacy": {"blur": "all", "store_crops": True}, "overlay": {"labels": False}, **sections}
    return load_config(layers=[Layer("test", values)])


def stages(detector: FindsSkin, config: Config) -> FrameAnalyzer:
    return PeopleAnalyzer(PropagatingAnalyzer(Analyzer(detector, GivenClassifier(), config), config), config)


def shown(shots: Sequence[Shot], *, analyzer: FrameAnalyzer | None = None, batch_size: int = 4, **sections: Any) -> Shows:
    """Run a file through all stages; return what was shown."""
    config = settings(**sections)
    sink = Shows(config)
    engine = Engine(analyzer or stages(FindsSkin(), config), Overlay(config).paint, config.stream, batch_size)
    engine.add([Film(shots, live=False)], [SinkBinding(sink, None)])
    engine.run()
    assert sum(sink.captured) > 0
    return sink


LEFT, RIGHT, BELOW = (40, 60), (220, 60), (120, 160)


def test_faces_are_visible_without_anonymisation() -> None:
    sink = shown([Shot(scene([LEFT, RIGHT]), 4)], privacy={"blur": "none"})
    assert min(sink.skin) > FACE_PX * FACE_PX


@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_a_face_that_appears_between_two_detections_is_not_shown(every: int, stride: int) -> None:
    shots = [Shot(scene([]), 1), Shot(scene([LEFT]), 3), Shot(scene([LEFT, RIGHT]), 3), Shot(scene([BELOW], seed=2), 9)]
    sink = shown(shots, detector={"every": every}, stream={"stride": stride})
    assert sink.indices("door") == list(range(16))
    assert sink.skin == [0] * 16


@pytest.mark.parametrize("every", [1, 3, 10])
@pytest.mark.parametrize("size", [(320, 240), (640, 480), (240, 320)])
def test_a_camera_that_reconnects_with_another_image_shows_no_face(every: int, size: tuple[int, int]) -> None:
    """The analyzer is called frame by frame, because `Engine` would drop frames of a camera that come too fast."""
    config = settings(detector={"every": every})
    analyzer, overlay = stages(FindsSkin(), config), Overlay(config)
    films = [Film([Shot(scene([LEFT]), 5)], live=True), Film([Shot(scene([RIGHT], size, seed=2), 12)], live=True)]
    clock = ManualClock()
    policy, status = ReconnectPolicy(None, refusal_ends=False), SourceStates(clock).status("door")
    frames = taken(ReconnectingSource("door", lambda: films.pop(0), policy, status, clock), 17)
    assert [skin(overlay.paint(frame, analyzer.analyze([frame])[0])) for frame in frames] == [0] * 17


def test_a_frame_without_detection_is_not_shown_whatever_propagates_faces() -> None:
    """The overlay anonymises by itself, without relying on the settings of earlier stages."""
    bare = settings(privacy={"blur": "none"}, detector={"every": 3})
    sink = shown([Shot(scene([LEFT]), 2), Shot(scene([LEFT, RIGHT]), 7)], analyzer=stages(FindsSkin(), bare))
    assert [output.result.unseen for output in sink.outputs] == [False, True, True] * 3
    assert sink.skin == [0] * 9


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_face_is_shown_if_memory_is_too_small_for_the_batch(most: int) -> None:
    detector = FindsSkin(most)
    sink = shown([Shot(scene([LEFT]), 5), Shot(scene([RIGHT]), 9)], batch_size=8, analyzer=stages(detector, settings()))
    assert sink.skin == [0] * 14
    assert detector.calls == 14  # no frame is analysed twice: its people would be counted twice


def test_pixels_outside_of_the_detector_region_are_not_shown() -> None:
    shots = [Shot(scene([LEFT, RIGHT]), 4), Shot(scene([(140, 60)]), 4)]
    sink = shown(shots, detector={"region": [0.0, 0.0, 0.5, 1.0]})
    assert sink.skin == [0] * 8
    assert len(np.unique(sink.outputs[0].annotated_bgr[:, :120].reshape(-1, 3), axis=0)) > 1000  # the rest is


def test_a_box_that_is_not_finite_hides_the_complete_frame() -> None:
    analyzer = stages(FindsSkin(broken=lambda call: call in (1, 4, 5)), settings())
    sink = shown([Shot(scene([LEFT]), 3), Shot(scene([RIGHT]), 4)], analyzer=analyzer)
    assert sink.skin == [0] * 7
    assert [output.annotated_bgr.max() == 0 for output in sink.outputs] == [True] + [False] * 6


@pytest.mark.parametrize("probabilities", [(float("nan"),) * 3, (float("nan"),) * 4, (float("inf"), 0.0, 0.0, 0.0)])
def test_a_face_with_a_probability_that_is_not_finite_is_anonymised(probabilities: tuple[float, ...]) -> None:
    config = settings(privacy={"blur": "unmasked"})
    judge = Analyzer(FindsSkin(), GivenClassifier(probabilities), config)
    sink = shown([Shot(scene([LEFT]), 5)], analyzer=PeopleAnalyzer(judge, config), privacy={"blur": "unmasked"})
    assert sink.skin == [0] * 5


def test_a_change_to_anonymisation_discards_the_frame_that_was_drawn_before() -> None:
    bare, covered = (settings(privacy={"blur": blur}) for blur in ("masked", "all"))
    sources = SourceSettings(bare)
    overlay = Overlay(sources)
    frame = Frame(scene([LEFT]), 0, "door", 0.0)
    judge = Analyzer(FindsSkin(), GivenClassifier((0.1, 0.8, 0.1)), bare)
    assert skin(overlay.paint(frame, judge.analyze([frame])[0])) > 0
    sources.set("door", covered)
    assert skin(overlay.paint(replace(frame, index=1), FrameResult("door", 1, 0.04, (), repeated=True))) == 0
