"""Cameras that are added, changed and removed while the others run, and what is slow, wrong or late about that."""

import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from time import monotonic

import pytest

from maskstream import load_config
from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.errors import ConfigError, ModelError, SourceOpenError
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import CameraWork, LiveCameras, Opened
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.stream.states import SourceState, SourceStatus
from tests.clocks import ManualClock
from tests.receivers import wait_until
from tests.slowness import LONGEST_S
from tests.stream.test_engine import ListSink, ListSource, paint
from tests.stream.test_engine import config as stream_config
from tests.stream.test_live import Listener
from tests.tracking.made import Scripted

USUAL = load_config().detector.min_score
FAST = "detector: {min_score: 0.9}"
SLOW = "network: {read_timeout_s: 7}"


class Recorded(SourceSettings):
    """Settings that remember what was set."""

    def __init__(self, common: Config) -> None:
        super().__init__(common)
        self.min_scores: list[tuple[str, float]] = []

    def set(self, source_id: str, config: Config) -> None:
        super().set(source_id, config)
        self.min_scores.append((source_id, config.detector.min_score))


class Scene:
    """A list of cameras, an engine that watches them, and work that takes as long as the test wants."""

    def __init__(self, folder: Path, config: Config, *lines: str) -> None:
        self.path = folder / "cameras.yaml"
        self.write(*lines)
        self.clock, self.listener, self.settings = ManualClock(), Listener(), Recorded(config)
        self.states = SourceStates()
        self.prepared: list[float] = []
        self.opened: list[tuple[str, ListSource, ListSink]] = []
        self.errors: dict[str, Exception] = {}
        """What becomes of opening a location, or of getting ready (`prepare`)."""
        self.gates: dict[str, threading.Event] = {}
        """What a location, or `prepare`, waits for."""
        watch = CameraWatch([str(self.path)], config, self.clock)
        cameras = read_cameras([str(self.path)], config)
        work = CameraWork(lambda _: self._wait("check"), self._prepare, self._open)
        self.live = LiveCameras(watch, cameras, self.settings, work, self.states)
        hooks = EngineHooks(self._attend, [self.listener], self.live.maintain, self.live.leave)
        self.until_s = monotonic() + LONGEST_S
        self.attend: Callable[[], None] = lambda: None
        self.engine = Engine(Scripted(lambda _: []), paint, stream_config().stream, 1, hooks, self.states)
        for camera in cameras:
            opened = self._open(camera, self.states.status(camera.name))
            self.engine.add([opened.source], opened.sinks)

    def _attend(self) -> bool:
        assert monotonic() < self.until_s
        self.attend()
        return False

    def write(self, *lines: str) -> None:
        self.path.write_text("".join(f"- {{{line}}}\n" for line in lines))

    def _wait(self, what: str) -> None:
        if what in self.gates:
            assert self.gates[what].wait(LONGEST_S)
        if what in self.errors:
            raise self.errors[what]

    def _prepare(self, config: Config) -> None:
        self._wait("prepare")
        self.prepared.append(config.detector.min_score)

    def _open(self, camera: Camera, _status: SourceStatus) -> Opened:
        self._wait(camera.location)
        source, sink = ListSource(3, camera.name, live=True), ListSink()
        self.opened.append((camera.location, source, sink))
        return Opened(source, (SinkBinding(sink, camera.name),))

    def edit(self, *lines: str) -> None:
        """Write the list, and let the program look twice."""
        self.write(*lines)
        for _ in range(2):
            self.clock.advance(1)
            self.live.maintain(self.engine)

    def settle(self, until: Callable[[], object]) -> None:
        """Let the program go on until something holds."""

        def holds() -> bool:
            self.live.maintain(self.engine)
            return bool(until())

        wait_until(holds)

    def names(self) -> set[str]:
        return {health.source_id for health in self.engine.health()}

    def locations(self, *, closed: bool) -> list[str]:
        """Where those sources are that are closed, with their sinks, or open."""
        return [place for place, source, _ in self.opened if source.closed.is_set() is closed]


@pytest.fixture
def scene(tmp_path: Path, config: Config) -> Scene:
    return Scene(tmp_path, config, "name: gate, url: 'rtsp://a'")


GATE = "name: gate, url: 'rtsp://a'"


def test_settings_that_need_no_connection_are_applied_to_the_running_camera(scene: Scene) -> None:
    scene.edit(f"{GATE}, {FAST}")
    scene.settle(lambda: scene.settings.min_scores)
    assert scene.settings.min_scores == [("gate", 0.9)]
    wait_until(lambda: scene.prepared == [0.9])
    assert [place for place, _, _ in scene.opened] == ["rtsp://a"]
    assert scene.locations(closed=False) == ["rtsp://a"]
    assert (scene.listener.removed, scene.names()) == ([], {"gate"})


def test_settings_of_a_removed_camera_are_forgotten(scene: Scene) -> None:
    scene.edit(f"{GATE}, {FAST}", "name: hall, url: b, detector: {min_score: 0.8}")
    scene.settle(lambda: scene.names() == {"gate", "hall"})
    assert len(scene.settings.all()) == 3
    scene.edit(f"{GATE}, {FAST}")
    assert [config.detector.min_score for config in scene.settings.all()] == [USUAL, 0.9]
    assert scene.settings.of("hall") is scene.settings.common


@pytest.mark.parametrize("changed", [f"{GATE}, {SLOW}", "name: gate, url: 'rtsp://b'", f"{GATE}, video: {{crf: 30}}"])
def test_what_concerns_the_connection_opens_source_and_sink_anew(scene: Scene, changed: str) -> None:
    scene.edit(changed)
    scene.settle(lambda: len(scene.opened) == 2 and scene.names())
    assert scene.listener.removed == ["gate"]
    wait_until(lambda: scene.opened[0][1].closed.is_set())
    assert [sink.closed for _, _, sink in scene.opened] == [1, 0]
    assert scene.settings.min_scores == [("gate", USUAL)]


def test_settings_of_a_camera_that_has_ended_do_not_open_it_again(scene: Scene) -> None:
    scene.states.status("gate").change(SourceState.ENDED, "its end was reached")
    scene.edit(f"{GATE}, {FAST}")
    scene.settle(lambda: scene.settings.min_scores)
    assert len(scene.opened) == 1


def test_a_corrected_typo_opens_the_camera(scene: Scene, said: list[str]) -> None:
    scene.errors["whep://b"] = SourceOpenError("whep://b: whep:// is not read")
    scene.edit(GATE, "name: hall, url: 'whep://b'")
    scene.settle(lambda: any("continuing without it" in line for line in said))
    assert scene.names() == {"gate"}
    scene.edit(GATE, "name: hall, url: 'rtsp://b'")
    scene.settle(lambda: "hall" in scene.names())
    assert sum("whep:// is not read; continuing without it" in line for line in said) == 1
    scene.engine.remove("gate", "over")  # which tells the listeners
    assert [change.cause for change in scene.listener.changes if change.source_id == "hall"] == [
        *("started", "whep://b: whep:// is not read", "started"),
    ]


def test_a_camera_that_could_not_be_opened_may_be_removed_from_the_list(scene: Scene, said: list[str]) -> None:
    scene.errors["b"] = SourceOpenError("b: no such file")
    scene.edit(GATE, "name: hall, url: b")
    scene.settle(lambda: any("continuing without it" in line for line in said))
    scene.edit(GATE)
    assert scene.names() == {"gate"}


def test_a_camera_that_could_not_be_opened_is_tried_again_at_the_next_edit(scene: Scene) -> None:
    scene.errors["b"] = SourceOpenError("b: no such file")
    scene.edit(GATE, "name: hall, url: b")
    scene.settle(lambda: "hall" in scene.listener.removed)
    del scene.errors["b"]
    scene.edit(f"{GATE}, {FAST}", "name: hall, url: b")
    scene.settle(lambda: "hall" in scene.names())


def test_a_mistake_in_one_camera_does_not_stop_the_others(scene: Scene, said: list[str]) -> None:
    scene.errors["b"] = ValueError("not foreseen")
    scene.edit(GATE, "name: hall, url: b")
    scene.settle(lambda: any("hall: internal error" in line for line in said))
    assert scene.names() == {"gate"}


def test_nothing_waits_for_a_camera_that_takes_long_to_open(scene: Scene) -> None:
    scene.gates["b"] = threading.Event()
    scene.edit(GATE, "name: hall, url: b", "name: lab, url: c")
    scene.settle(lambda: "lab" in scene.names())
    assert scene.names() == {"gate", "lab"}
    scene.gates["b"].set()
    scene.settle(lambda: "hall" in scene.names())


def test_nothing_waits_for_models_that_are_made_ready(scene: Scene) -> None:
    scene.gates["prepare"] = threading.Event()
    scene.edit(f"{GATE}, {FAST}", "name: hall, url: b")
    assert (scene.settings.min_scores, scene.names()) == ([("gate", 0.9)], {"gate"})  # what needs no model holds at once
    scene.gates["prepare"].set()
    scene.settle(lambda: len(scene.settings.min_scores) == 2)
    assert scene.settings.min_scores == [("gate", 0.9), ("hall", USUAL)]


def test_a_camera_that_is_removed_while_it_is_opened_is_closed_and_never_there(scene: Scene) -> None:
    scene.gates["b"] = threading.Event()
    scene.edit(GATE, "name: hall, url: b")
    scene.edit(GATE)
    scene.gates["b"].set()
    wait_until(lambda: scene.locations(closed=True) == ["b"])
    wait_until(lambda: scene.opened[-1][2].closed == 1)
    scene.settle(lambda: True)
    assert scene.names() == {"gate"}
    assert scene.listener.states("hall") == [SourceState.CONNECTING, SourceState.ENDED]


def test_of_two_edits_the_last_one_counts_whichever_is_ready_first(scene: Scene) -> None:
    scene.gates["b"] = threading.Event()
    scene.edit(GATE, "name: hall, url: b")
    scene.edit(GATE, "name: hall, url: c")
    scene.settle(lambda: "hall" in scene.names())
    scene.gates["b"].set()
    wait_until(lambda: "b" in scene.locations(closed=True))
    scene.settle(lambda: True)
    assert scene.locations(closed=False) == ["rtsp://a", "c"]
    scene.engine.remove("gate", "over")  # which tells the listeners
    assert scene.listener.states("hall")[:3] == [SourceState.CONNECTING, SourceState.ENDED, SourceState.CONNECTING]


def test_an_edit_that_is_taken_back_leaves_the_settings_as_they_were(scene: Scene) -> None:
    scene.gates["prepare"] = threading.Event()
    scene.edit(f"{GATE}, {FAST}")
    scene.edit(GATE)
    scene.gates["prepare"].set()
    scene.settle(lambda: len(scene.prepared) == 2)
    assert scene.settings.min_scores == [("gate", 0.9), ("gate", USUAL)]


def test_settings_that_the_models_cannot_follow_are_said_and_tried_at_the_next_edit(scene: Scene, said: list[str]) -> None:
    scene.errors["prepare"] = ModelError("the detector finds no more than 300 faces")
    scene.edit(f"{GATE}, {FAST}")
    scene.settle(lambda: any("ERROR" in line for line in said))
    assert "gate: the detector finds no more than 300 faces; the detector finds as many faces as before" in said[-1]
    assert (scene.prepared, scene.names()) == ([], {"gate"})
    del scene.errors["prepare"]
    scene.edit(f"{GATE}, {FAST}", "name: hall, url: b")
    scene.settle(lambda: 0.9 in scene.prepared)


def test_settings_that_make_no_sense_here_are_said_and_not_applied(scene: Scene, said: list[str]) -> None:
    scene.errors["check"] = ConfigError("classifier.incorrect_as: not told by this classifier")
    scene.edit(f"{GATE}, {FAST}")
    assert "not told by this classifier; its settings are unchanged" in said[-1]
    assert (scene.settings.min_scores, scene.prepared) == ([], [])
    del scene.errors["check"]
    scene.edit(f"{GATE}, {FAST}", "name: hall, url: b")
    scene.settle(lambda: ("gate", 0.9) in scene.settings.min_scores)


def test_a_camera_that_cannot_be_added_twice_over_is_replaced(scene: Scene) -> None:
    """Ten edits of everything that there is, each while the one before may still be under way."""
    for number in range(10):
        settings = (FAST, SLOW)[number % 2]
        scene.edit(f"name: gate, url: 'rtsp://{number // 3}', {settings}")
    scene.settle(lambda: scene.names() == {"gate"} and len(scene.locations(closed=False)) == 1)
    assert scene.locations(closed=False) == ["rtsp://3"]
    assert all(sink.closed for _, source, sink in scene.opened if source.closed.is_set())


def test_leaving_while_a_camera_is_opened_ends_in_time_and_closes_it(scene: Scene) -> None:
    gate = scene.gates["b"] = threading.Event()
    scene.edit(GATE, "name: hall, url: b", "name: lab, url: c")
    wait_until(lambda: len(scene.opened) == 2)  # ready, and not taken over
    scene.attend = scene.engine.stop
    report = scene.engine.run()
    assert report.threads_left >= 1
    assert scene.locations(closed=True) == ["rtsp://a", "c"]
    gate.set()
    wait_until(lambda: len(scene.locations(closed=True)) == 3)
    assert [sink.closed for _, _, sink in scene.opened] == [1, 1, 1]


def test_the_run_goes_on_while_a_camera_is_opened_though_all_others_have_ended(scene: Scene) -> None:
    gate = scene.gates["b"] = threading.Event()
    scene.edit(GATE, "name: hall, url: b")

    turns = count()

    def attend() -> None:
        outputs = scene.opened[0][2].outputs
        if outputs and outputs[-1].frame.index == 2 and next(turns) == 5:
            gate.set()

    scene.attend = attend
    scene.engine.run()
    assert [source.info.source_id for _, source, _ in scene.opened] == ["gate", "hall"]
    assert scene.opened[1][2].outputs


def test_closing_goes_on_where_a_sink_cannot_be_closed() -> None:
    class Bad(ListSink):
        def close(self) -> None:
            super().close()
            raise OSError("disk full")

    source, sinks = ListSource(1), [Bad(), ListSink()]
    with pytest.raises(OSError, match="disk full"):
        Opened(source, tuple(SinkBinding(sink, "a") for sink in sinks)).close()
    assert (source.closed.is_set(), [sink.closed for sink in sinks]) == (True, [1, 1])
