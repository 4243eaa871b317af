"""A list of cameras is edited while they are recorded: real cameras, real recordings, and a model that finds no person."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import av
import pytest

from maskstream.cli.opening import open_camera
from maskstream.config.camera_watch import CameraWatch
from maskstream.config.cameras import read_cameras
from maskstream.config.schema import Config
from maskstream.config.source_settings import SourceSettings
from maskstream.io.file_names import FileNames
from maskstream.rendering.overlay import Overlay
from maskstream.sinks import JsonlSink
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.live_cameras import CameraWork, LiveCameras
from maskstream.stream.sink_group import SinkBinding
from maskstream.stream.source_states import SourceStates
from maskstream.tracking.analyzer import PeopleAnalyzer
from tests.clocks import ManualClock
from tests.servers import http_server, mjpeg
from tests.slowness import LONGEST_S
from tests.tracking.made import Scripted

_FRAMES = 3
"""Of each camera, between two edits."""
_LOOKS = 2
"""After which an edited list has been read."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with http_server({"/a": mjpeg(fps=50), "/b": mjpeg(fps=40)}) as address:
        yield address


class Run:
    """A run over a list, which is edited whenever each camera of it has given some frames."""

    def __init__(self, folder: Path, config: Config, edits: list[list[str]]) -> None:
        self.path, self.output, self.jsonl = folder / "cameras.yaml", folder / "recordings", folder / "faces.jsonl"
        self.edits, self.clock, self.until_s = edits, ManualClock(), monotonic() + LONGEST_S
        self._write(edits.pop(0))
        watch = CameraWatch([str(self.path)], config, self.clock)
        cameras = read_cameras([str(self.path)], config)
        states, names = SourceStates(), FileNames()
        settings = SourceSettings(config, {camera.name: camera.config for camera in cameras})
        people, overlay = PeopleAnalyzer(Scripted(lambda _: []), settings), Overlay(settings)
        open_one = partial(open_camera, states=states, output=str(self.output), names=names)
        self.live = LiveCameras(watch, cameras, settings, CameraWork(lambda _: None, lambda _: None, open_one), states)
        hooks = EngineHooks(self._attend, leave=self.live.leave)
        self.engine = Engine(people, overlay.paint, config.stream, 4, hooks, states)
        for camera in cameras:
            opened = open_one(camera, states.status(camera.name))
            self.engine.add([opened.source], opened.sinks)
        self.engine.add([], [SinkBinding(JsonlSink(str(self.jsonl)), None)])

    def _write(self, lines: list[str]) -> None:
        self.path.write_text("".join(f"- {{{line}}}\n" for line in lines))
        self.names = [line.split("'")[1] for line in lines]
        self.looks, self.known = 0, Counter[str]()

    def counted(self) -> Counter[str]:
        """Return the records of each camera."""
        text = self.jsonl.read_text() if self.jsonl.exists() else ""
        return Counter(json.loads(line)["source"] for line in text.splitlines())

    def _attend(self) -> bool:
        """Look after the list at each turn, not ten times a second as a run does."""
        assert monotonic() < self.until_s
        self.clock.advance(1)
        self.live.maintain(self.engine)
        self.looks += 1
        if self.looks <= _LOOKS:  # the list may not have been read yet
            self.known = self.counted()
        new = self.counted() - self.known
        if self.looks > _LOOKS and all(new[name] >= _FRAMES for name in self.names):
            if self.edits:
                self._write(self.edits.pop(0))
            else:
                self.engine.stop()
        return False


def recorded(folder: Path) -> dict[str, list[float]]:
    """Return the times of all frames in each file."""
    times = {}
    for path in folder.iterdir():
        with av.open(str(path)) as container:
            times[path.name] = [float(frame.time) for frame in container.decode(video=0)]
    return times


def frames_of(times: dict[str, list[float]]) -> Counter[str]:
    """Return the frames of each camera in all its files."""
    frames: Counter[str] = Counter()
    for name, each in times.items():
        frames[re.sub(r"(_\d{3})?\.mp4$", "", name)] += len(each)
    return frames


def test_settings_are_edited_while_a_camera_is_recorded(tmp_path: Path, config: Config, url: str) -> None:
    gate = f"name: 'gate', url: '{url}/a'"
    run = Run(tmp_path, config, [[gate], [f"{gate}, detector: {{min_score: 0.9}}"], [f"{gate}, privacy: {{blur: all}}"]])
    run.engine.run()
    times = recorded(run.output)
    assert list(times) == ["gate.mp4"]
    assert len(times["gate.mp4"]) == sum(run.counted().values())


def test_every_record_has_its_frame_in_a_recording_where_the_list_is_edited_ten_times(
    tmp_path: Path, config: Config, url: str
) -> None:
    def line(name: str, place: str, crf: int = 23, score: float = 0.5) -> str:
        return f"name: '{name}', url: '{url}/{place}', video: {{crf: {crf}}}, detector: {{min_score: {score}}}"

    run = Run(
        tmp_path,
        config,
        [
            [line("hall 1", "a")],
            [line("hall 1", "a", score=0.9)],
            [line("hall 1", "a", crf=30)],
            [line("hall 1", "b", crf=30), line("hall_1", "a")],
            [line("hall_1", "a"), line("HALL 1", "b")],
            [line("hall 1", "a"), line("hall_1", "b"), line("HALL 1", "b")],
            [line("hall 1", "a"), line("hall_1", "b", score=0.8), line("HALL 1", "a")],
            [line("hall 1", "b")],
            [line("hall 1", "b"), line("gate", "b")],
            [line("hall 1", "b", crf=20), line("gate", "b")],
            [line("hall 1", "b", crf=20), line("gate", "a", crf=20)],
        ],
    )
    run.engine.run()
    times = recorded(run.output)
    base = {"hall 1": "hall_1", "hall_1": "hall_1_2", "HALL 1": "HALL_1_3", "gate": "gate"}
    assert frames_of(times) == Counter({base[name]: frames for name, frames in run.counted().items()})
    parts = Counter(name for name in base.values() for file in times if file.startswith((f"{name}.", f"{name}_0")))
    assert parts == {"hall_1": 6, "hall_1_2": 2, "HALL_1_3": 2, "gate": 2}
    for file, each in times.items():
        assert each[0] == 0, file
        assert each == sorted(set(each)), file
