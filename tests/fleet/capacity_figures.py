"""How many cameras one agent analyses: their number is raised until frames are dropped."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from time import monotonic, sleep
from typing import Any

import psutil

from maskstream import __version__
from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.placement import Worker, WorkerSpec
from maskstream.fleet.wire import Assignment, Heartbeat, Reconcile
from tests.fleet.clip_cameras import ClipCameras, served
from tests.fleet.figure_tables import table
from tests.slowness import LONGEST_S

_BEAT_S = 0.5
_TARGET = "maskstream.cli.fleet_agent:FleetAgent"
_ONLINE = "online"


@dataclass(frozen=True)
class Load:
    """The cameras, and for how long each number of them is measured."""

    video: Path
    fps: float
    """Frames per second that each camera sends."""
    stride: int
    """Every how many frames one is analysed."""
    most: int
    """More cameras are not tried."""
    dropped_share: float
    """The most that may be dropped."""
    settle_s: float
    """From the first frames of all cameras to the measurement: rates are averages over 10 s."""
    window_s: float


@dataclass(frozen=True)
class Step:
    """What the agent did with a number of cameras: averages of the time that was measured."""

    cameras: int
    wanted_fps: float
    analysed_fps: float
    dropped_share: float
    busy: float
    """The share of the time in the models."""
    capacity_fps: float
    """As the agent measures it."""
    cores: float
    """That the agent used."""
    senders_cores: float
    """That the cameras used, on the same machine."""
    memory_mb: float


@dataclass
class CapacityReport:
    """The result of all steps."""

    load: Load
    steps: list[Step]

    @property
    def cameras(self) -> int:
        """The largest number of cameras that worked; 0 where one is too much."""
        return max((step.cameras for step in self.steps if step.dropped_share <= self.load.dropped_share), default=0)

    def record(self) -> dict[str, Any]:
        """Return the report for JSON."""
        load = {**asdict(self.load), "video": self.load.video.name}
        return {"load": load, "cameras": self.cameras, "steps": [asdict(step) for step in self.steps]}

    def table(self) -> str:
        """Return the report as a table."""
        head = ["cameras", "wanted", "analysed", "dropped", "busy", "capacity", "cores of the agent", "of the cameras", "memory"]
        return table(head, [_row(step) for step in sorted(self.steps, key=lambda step: step.cameras)])


def _row(step: Step) -> list[object]:
    rates = [f"{step.wanted_fps:.1f} fps", f"{step.analysed_fps:.1f} fps", f"{step.dropped_share:.1%}", f"{step.busy:.0%}"]
    cores = [f"{step.cores:.2f}", f"{step.senders_cores:.2f}"]
    return [step.cameras, *rates, f"{step.capacity_fps:.0f} fps", *cores, f"{step.memory_mb:.0f} MB"]


def measure(load: Load) -> CapacityReport:
    """Double the cameras until too many frames are dropped, then halve the distance to the last number that worked."""
    cameras = ClipCameras(load.video, load.fps)
    names = [f"camera-{number}" for number in range(1, load.most + 1)]
    report = CapacityReport(load, [])
    with tempfile.TemporaryDirectory() as folder, served(cameras, names) as urls, _agent(Path(folder)) as worker:
        agent = _Agent(worker, load, urls)
        agent.wait_until(lambda beat: beat.capacity_fps > 0)
        works, fails = 0, load.most + 1
        while fails - works > 1:
            tried = min(max(1, works * 2), load.most) if fails > load.most else (works + fails) // 2
            report.steps.append(agent.measure(tried))
            if report.steps[-1].dropped_share > load.dropped_share:
                fails = tried
            else:
                works = tried
    return report


@contextmanager
def _agent(folder: Path) -> Iterator[Worker]:
    """Run an agent as a supervisor starts it, but so that it ends with this program."""
    arguments = {"node": "local", "site": "figures", "folder": str(folder / "node"), "log_level": "WARNING"}
    with LocalPlacement(folder / "agents") as placement:
        yield placement.start(WorkerSpec("agent", _TARGET, arguments))


class _Agent:
    """Calls the agent in the place of a supervisor."""

    def __init__(self, worker: Worker, load: Load, urls: dict[str, str]) -> None:
        self._worker = worker
        self._load = load
        self._urls = urls
        self._cameras = self._turn = self._acknowledged = 0
        self._last: Heartbeat | None = None

    def measure(self, cameras: int) -> Step:
        """Assign the first cameras, wait until all deliver frames, and return what the agent does with them."""
        self._cameras = cameras
        self.wait_until(lambda beat: len(beat.cameras) == cameras and all(each.state == _ONLINE for each in beat.cameras))
        self._beats(self._load.settle_s)
        process, own = self._process(), psutil.Process()
        before_s, own_before_s, began_s = _cpu_s(process), _cpu_s(own), monotonic()
        beats = self._beats(self._load.window_s)
        took_s = monotonic() - began_s
        wanted = fmean(sum(each.wanted_fps for each in beat.cameras) for beat in beats)
        analysed = fmean(sum(min(each.analysed_fps, each.wanted_fps) for each in beat.cameras) for beat in beats)
        return Step(
            cameras=cameras,
            wanted_fps=wanted,
            analysed_fps=analysed,
            dropped_share=1 - analysed / wanted,
            busy=fmean(beat.busy for beat in beats),
            capacity_fps=fmean(beat.capacity_fps for beat in beats),
            cores=(_cpu_s(process) - before_s) / took_s,
            senders_cores=(_cpu_s(own) - own_before_s) / took_s,
            memory_mb=process.memory_info().rss / 1e6,
        )

    def wait_until(self, holds: Callable[[Heartbeat], bool]) -> None:
        """Call the agent until its reply is as wanted."""
        until_s = monotonic() + LONGEST_S
        while not holds(beat := self._beat()):
            assert monotonic() < until_s, beat
            sleep(_BEAT_S)

    def _beats(self, lasts_s: float) -> list[Heartbeat]:
        beats, until_s = [], monotonic() + lasts_s
        while monotonic() < until_s:
            beats.append(self._beat())
            sleep(_BEAT_S)
        return beats

    def _beat(self) -> Heartbeat:
        self._turn += 1
        last = self._last
        assigned = list(self._urls.items())[: self._cameras]
        wanted = Reconcile(
            supervisor="figures",
            term=1,
            generation=1,
            assignments=tuple(Assignment(name, 1, {"name": name, "url": url}) for name, url in assigned),
            lease_s=LONGEST_S,
            on_partition="go_on",
            acknowledged=self._acknowledged,
            outbox=last.outbox if last else "",
            turn=self._turn,
            echo_s=last.sent_s if last else None,
            settings=(("the measurement", {"stream": {"stride": self._load.stride}}),),
            version=__version__,
        )
        beat: Heartbeat = self._worker.call("beat", wanted).result(LONGEST_S)
        assert beat.refused == "", beat
        self._acknowledged = max((record.number for record in beat.records), default=self._acknowledged)
        self._last = beat
        return beat

    def _process(self) -> psutil.Process:
        return next(child for child in psutil.Process().children() if "maskstream.fleet.local_worker" in child.cmdline())


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
