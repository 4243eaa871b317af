"""Run the complete program on cameras that are made, some of which show a place where nothing happens."""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path
from threading import Event
from time import monotonic, process_time
from typing import Any, Final

import numpy as np

from maskstream.benchmark.bench import Bench, CountingSink
from maskstream.benchmark.crowds import most_certain_face
from maskstream.benchmark.rounds import percentiles
from maskstream.benchmark.scenes import Scene, Visit, face_with_margin
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.inference.pipeline import batch_size_of
from maskstream.inference.propagation import PropagatingAnalyzer
from maskstream.stream.engine import Engine
from maskstream.stream.sink_group import SinkBinding
from maskstream.tracking.analyzer import PeopleAnalyzer
from maskstream.types import BgrImage, Frame, SourceInfo

FPS: Final = 5.0
_SIZE: Final = (1280, 720)
_FACES: Final = 5
_FACE_PX: Final = 150
_PICTURES: Final = 10
"""Different pictures of a camera, forwards and backwards."""


class PacedCamera:
    """A live source that gives the same pictures again and again, five a second."""

    def __init__(self, name: str, pictures: Sequence[BgrImage], frames: int, delay_s: float) -> None:
        """Begin with the first picture after `delay_s`, and end after a number of frames."""
        self.info = SourceInfo(name, *_SIZE, live=True, average_fps=FPS)
        self._pictures = [*pictures, *reversed(pictures)]
        self._frames, self._delay_s = frames, delay_s
        self._closed = Event()

    def __iter__(self) -> Iterator[Frame]:
        """Yield each frame at its time."""
        began_s = monotonic() + self._delay_s
        for index, picture in zip(range(self._frames), cycle(self._pictures), strict=False):
            time_s = index / FPS
            if self._closed.wait(max(0.0, began_s + time_s - monotonic())):
                return
            now = datetime.now(UTC)
            yield Frame(picture, index, self.info.source_id, time_s, captured_at_s=monotonic(), wall_time=now)

    def close(self) -> None:
        """End the source. A second call does nothing."""
        self._closed.set()


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
            raise ConfigError(f"--sweep quiet: no face is found in the first {len(bench.frames)} frames of {bench.path}")
        rng = np.random.default_rng(1)
        place = rng.integers(90, 130, (9, 16, 3)).astype(np.uint8).repeat(80, 0).repeat(80, 1)
        face, end_s = face_with_margin(*shown), _PICTURES / FPS
        columns = np.linspace(0, _SIZE[0], 2 * _FACES + 1)[1::2].tolist()
        visits = [Visit(face, _FACE_PX, 0, end_s, (x, 250.0), (x + 40, 420.0)) for x in columns]
        times_s = [number / FPS for number in range(_PICTURES)]
        busy, quiet = Scene(place, visits), Scene(place)
        return cls([busy.at(time_s) for time_s in times_s], [quiet.at(time_s) for time_s in times_s])


def run_cameras(bench: Bench, pictures: Pictures, config: Config, busy: int, quiet: int, seconds: float) -> dict[str, Any]:
    """Run the complete program, without video output, on busy and quiet cameras.

    Returns:
        `frames`: number of analysed frames. `busy_fps`, `quiet_fps`: analysed frames per second and camera. `age_p99_ms`: of all
        frames at the sinks. `rss_mb`: memory of the process at the end.
    """
    count = busy + quiet
    sink = CountingSink()
    analyzer = PeopleAnalyzer(PropagatingAnalyzer(bench.analyzer, config), config)
    engine = Engine(analyzer, bench.overlay.paint, config.stream, batch_size_of(config))
    frames = round(seconds * FPS)
    sources = [
        PacedCamera(
            f"{'busy' if number < busy else 'quiet'} {number}",
            pictures.busy if number < busy else pictures.quiet,
            frames,
            number / count / FPS,
        )
        for number in range(count)
    ]
    engine.add(sources, [SinkBinding(sink, None)])
    engine.run()
    gc.collect()
    of_busy = sum(result.source_id.startswith("busy") for result in sink.results)
    return {
        "frames": len(sink.results),
        "busy_fps": round(of_busy / seconds / max(busy, 1), 2),
        "quiet_fps": round((len(sink.results) - of_busy) / seconds / max(quiet, 1), 2),
        "age_p99_ms": percentiles([1000 * age_s for age_s in sink.ages_s])["p99"],
        "rss_mb": _rss_mb(),
    }


def cores_needed(bench: Bench, pictures: Pictures, config: Config, busy: int, quiet: int, seconds: float) -> float:
    """Return the processor seconds per second that it takes to analyse every frame of busy and quiet cameras.

    It depends less on other programs on the machine than the frames that a camera loses.
    """
    analyzer = PeopleAnalyzer(PropagatingAnalyzer(bench.analyzer, config), config)
    shown = [(f"busy {number}", pictures.busy) for number in range(busy)]
    shown += [(f"quiet {number}", pictures.quiet) for number in range(quiet)]
    began_s = process_time()
    for index in range(round(seconds * FPS)):
        time_s = index / FPS
        now = datetime.now(UTC)
        analyzer.analyze(
            [Frame([*each, *reversed(each)][index % (2 * len(each))], index, name, time_s, wall_time=now) for name, each in shown]
        )
    return round((process_time() - began_s) / seconds, 3)


def _rss_mb() -> float | None:
    """Return the resident memory of this process in megabytes; None if the system does not provide it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((round(int(line.split()[1]) / 1024, 1) for line in lines if line.startswith("VmRSS")), None)
