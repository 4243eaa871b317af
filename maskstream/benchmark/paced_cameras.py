"""Run the complete program on cameras that are made, some of which show a place where nothing happens."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from io import BytesIO
from itertools import count, cycle, islice
from pathlib import Path
from threading import Event
from time import monotonic, process_time
from typing import Any, Final

import av
import numpy as np

from maskstream.benchmark.bench import Bench, CountingSink
from maskstream.benchmark.crowds import most_certain_face
from maskstream.benchmark.rounds import percentiles
from maskstream.benchmark.scenes import Scene, Visit, face_with_margin
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.inference.pipeline import batch_size_of
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.io.ffmpeg_whitelists import whitelist
from maskstream.sources.video import Origin, VideoSource
from maskstream.stream.engine import Engine, EngineHooks
from maskstream.stream.sink_group import SinkBinding
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import BgrImage, Frame

FPS: Final = 5
_SIZE: Final = (1280, 720)
_FACES: Final = 5
_FACE_PX: Final = 150
_PICTURES: Final = 10
"""Different pictures of a camera, forwards and backwards."""
START: Final = 10
"""Frames of each camera that are left out of what is measured: all cameras begin at once, each with a detection."""
_ENCODER: Final = {"preset": "veryfast", "crf": "23", "bf": "0", "refs": "1", "g": "10"}
"""Like the stream of an IP camera: each frame refers to the one before it, with a key frame every 2 s."""


class PacedCamera:
    """A live source of H.264 in 1280x720, of which a frame arrives, and is decoded, five times a second."""

    def __init__(self, name: str, video: bytes, delay_s: float) -> None:
        """Open a video. Its first frame arrives after `delay_s`, and the camera ends with its last one."""
        container = av.open(BytesIO(video), "r", options=whitelist("pipe", "matroska"))
        self._source = VideoSource(container, Origin(name, live=True, keep_damaged=False))
        self.info = self._source.info
        self._delay_s = delay_s
        self._closed = Event()

    def __iter__(self) -> Iterator[Frame]:
        """Yield each frame at its time."""
        began_s = monotonic() + self._delay_s
        frames = iter(self._source)
        for index in count():
            time_s = index / FPS
            if self._closed.wait(max(0.0, began_s + time_s - monotonic())):
                return
            arrived_s, wall_time = monotonic(), datetime.now(UTC)
            frame = next(frames, None)
            if frame is None:
                return
            yield replace(frame, time_s=time_s, captured_at_s=arrived_s, wall_time=wall_time)

    def close(self) -> None:
        """End the source. A second call does nothing."""
        self._closed.set()
        self._source.close()


@dataclass(frozen=True)
class Pictures:
    """The pictures of busy and of quiet cameras, 1280x720."""

    busy: Sequence[BgrImage]
    quiet: Sequence[BgrImage]

    @classmethod
    def of(cls, bench: Bench) -> "Pictures":
        """Return pictures with five copies of a face of the clip, which move, and pictures without a face.

        Raises:
            ConfigError: The clip has no face.
        """
        shown = most_certain_face(bench.frames, bench.analyse())
        if shown is None:
            raise ConfigError(f"made cameras: no face is found in the first {len(bench.frames)} frames of {bench.path}")
        rng = np.random.default_rng(1)
        place = rng.integers(90, 130, (9, 16, 3)).astype(np.uint8).repeat(80, 0).repeat(80, 1)
        face, end_s = face_with_margin(*shown), _PICTURES / FPS
        columns = np.linspace(0, _SIZE[0], 2 * _FACES + 1)[1::2].tolist()
        visits = [Visit(face, _FACE_PX, 0, end_s, (x, 250.0), (x + 40, 420.0)) for x in columns]
        times_s = [number / FPS for number in range(_PICTURES)]
        busy, quiet = Scene(place, visits), Scene(place)
        return cls(*(_there_and_back([scene.at(time_s) for time_s in times_s]) for scene in (busy, quiet)))


def _there_and_back(pictures: Sequence[BgrImage]) -> list[BgrImage]:
    return [*pictures, *reversed(pictures)]


@dataclass(frozen=True)
class Site:
    """Busy and quiet cameras, and how long they are measured."""

    pictures: Pictures
    busy: int
    quiet: int
    seconds: float

    @property
    def frames(self) -> int:
        """Number of frames of each camera that are measured."""
        return round(self.seconds * FPS)

    @cached_property
    def _videos(self) -> dict[str, bytes]:
        return {
            "busy": _encoded(self.pictures.busy, START + self.frames),
            "quiet": _encoded(self.pictures.quiet, START + self.frames),
        }

    def cameras(self) -> list[PacedCamera]:
        """Open all cameras. They begin one after the other, within the time of a frame."""
        total = self.busy + self.quiet
        kinds = ["busy"] * self.busy + ["quiet"] * self.quiet
        return [PacedCamera(f"{kind} {number}", self._videos[kind], number / total / FPS) for number, kind in enumerate(kinds)]


def _encoded(pictures: Sequence[BgrImage], frames: int) -> bytes:
    """Return a number of frames as H.264: the pictures, again and again."""
    content = BytesIO()
    with closing(av.open(content, "w", format="matroska")) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=dict(_ENCODER))
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        for picture in islice(cycle(pictures), frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        container.mux(stream.encode(None))
    return content.getvalue()


def run_cameras(bench: Bench, site: Site, config: Config) -> dict[str, Any]:
    """Run the complete program, without video output, on busy and quiet cameras, and measure it after its start.

    Returns:
        `frames`: number of analysed frames. `kept`: their fraction of all frames. `busy_fps`, `quiet_fps`: analysed frames per
        second and camera. `age_p99_ms`: of the frames at the sinks. `used_cores`: processor seconds per second of the run, with
        decoding. `rss_mb`: peak of the memory of the process.
    """
    sink, rss_mb = CountingSink(), [_rss_mb()]
    analyzer = PeopleAnalyzer(PropagatingAnalyzer(bench.analyzer, config), config)
    hooks = EngineHooks(maintain=lambda _: rss_mb.append(_rss_mb()))
    engine = Engine(analyzer, bench.overlay.paint, config.stream, batch_size_of(config), hooks)
    engine.add(site.cameras(), [SinkBinding(sink, None)])
    began_s, used_s = monotonic(), process_time()
    engine.run()
    used_cores = (process_time() - used_s) / (monotonic() - began_s)
    gc.collect()
    measured = [
        (result.source_id, age_s) for result, age_s in zip(sink.results, sink.ages_s, strict=True) if result.index >= START
    ]
    of_busy = sum(name.startswith("busy") for name, _ in measured)
    return {
        "frames": len(measured),
        "kept": round(len(measured) / site.frames / (site.busy + site.quiet), 3),
        "busy_fps": round(of_busy / site.seconds / max(site.busy, 1), 2),
        "quiet_fps": round((len(measured) - of_busy) / site.seconds / max(site.quiet, 1), 2),
        "age_p99_ms": percentiles([1000 * age_s for _, age_s in measured])["p99"],
        "used_cores": round(used_cores, 2),
        "rss_mb": max(rss_mb),
    }


def cores_needed(bench: Bench, site: Site, config: Config) -> float:
    """Return the processor seconds per second that it takes to analyse every frame of busy and quiet cameras, without decoding.

    It depends less on other programs on the machine than the frames that a camera loses.
    """
    analyzer = PeopleAnalyzer(PropagatingAnalyzer(bench.analyzer, config), config)
    shown = [(f"busy {number}", site.pictures.busy) for number in range(site.busy)]
    shown += [(f"quiet {number}", site.pictures.quiet) for number in range(site.quiet)]
    began_s = process_time()
    for index in range(START + site.frames):
        time_s, now = index / FPS, datetime.now(UTC)
        analyzer.analyze([Frame(each[index % len(each)], index, name, time_s, wall_time=now) for name, each in shown])
    return round((process_time() - began_s) / (site.seconds + START / FPS), 3)


def _rss_mb() -> float:
    """Return the resident memory of this process in megabytes; 0 if the system does not provide it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmRSS")), 0.0)
