"""Kill and stop the processes of a `maskstream fleet` with RTSP cameras: how long cameras are blind, and what is lost."""

import random
import sqlite3
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from time import sleep
from typing import Any

from tests.cli.fleets import Fleet, running_fleet
from tests.fleet.clip_cameras import ClipCameras, served
from tests.fleet.figure_tables import percentile, table
from tests.fleet.fleet_faults import FAULTS, SUPERVISOR, Fault
from tests.fleet.record_audit import RecordAudit, audit
from tests.receivers import wait_until

_KEPT_S = 5.0
"""A viewer that is there so long after the kill of a supervisor was not lost by it."""


@dataclass(frozen=True)
class Drill:
    """What happens how often."""

    video: Path
    agents: int
    cameras: int
    fps: float
    """Of each camera."""
    times: Mapping[str, int]
    """How often each of `FAULTS` happens."""
    pause_s: float
    """From the end of one fault, when all agents have loaded their models, to the next."""


@dataclass(frozen=True)
class Outage:
    """What a fault was for one camera."""

    camera: str
    connected_s: float
    """From the fault until the camera sent video to another viewer."""
    blind_s: float
    """From the fault to the first frame of the next assignment, by the time of its capture. 0: the camera kept its viewer."""


@dataclass
class FailoverReport:
    """The result of a drill."""

    drill: Drill
    faults: list[Fault]
    outages: list[list[Outage]]
    """Of each fault."""
    records: RecordAudit

    def record(self) -> dict[str, Any]:
        """Return the report for JSON."""
        faults = [
            {**asdict(fault), "held": len(fault.held), "outages": [asdict(outage) for outage in outages]}
            for fault, outages in zip(self.faults, self.outages, strict=True)
        ]
        drill = {**asdict(self.drill), "video": self.drill.video.name}
        return {"drill": drill, "faults": faults, "records": asdict(self.records)}

    def tables(self) -> str:
        """Return the report as tables."""
        head = ["fault", "times", "cameras concerned", "camera sends again: p50, p95", "blind: p50, p95", "longest"]
        head += ["next record in the file: p50, p95"]
        rows = [self._row(what) for what in FAULTS if any(fault.what == what for fault in self.faults)]
        return f"{table(head, rows)}\n\n{self.records.table()}"

    def _row(self, what: str) -> list[object]:
        numbers = [number for number, fault in enumerate(self.faults) if fault.what == what]
        outages = [outage for number in numbers for outage in self.outages[number]]
        blind_s = [outage.blind_s for outage in outages]
        written_s = [self.faults[number].records_s for number in numbers]
        times = [_percentiles([outage.connected_s for outage in outages]), _percentiles(blind_s), f"{max(blind_s):.1f} s"]
        return [what, len(numbers), len(outages), *times, _percentiles([each for each in written_s if each is not None])]


def _percentiles(times_s: list[float]) -> str:
    return f"{percentile(times_s, 50):.1f} s, {percentile(times_s, 95):.1f} s" if times_s else ""


def measure(drill: Drill) -> FailoverReport:
    """Run a fleet, let the faults happen, end the fleet in order, and look what became of cameras and records."""
    names = [f"camera-{number}" for number in range(1, drill.cameras + 1)]
    cameras = ClipCameras(drill.video, drill.fps)
    options = ("--nodes", str(drill.agents))
    faults = []
    moments = random.Random(1)  # within the turns of the supervisor
    with (
        tempfile.TemporaryDirectory() as folder,
        served(cameras, names) as urls,
        running_fleet(Path(folder), urls, *options, start_process=_started, max_moves_per_minute=60) as fleet,
    ):
        wait_until(lambda: {each["source"] for each in fleet.records()} >= set(names))
        for what, times in drill.times.items():
            for _ in range(times):
                sleep(drill.pause_s + moments.random())
                faults.append(FAULTS[what](fleet))
                _wait_for_events(fleet, faults[-1])
        sleep(drill.pause_s)
        code = fleet.stop()
        assert code == 130, "\n".join(fleet.log())
        held = [each for fault in faults for each in fault.held]
        outages = [_outages(fault, cameras, _first_frames(fleet)) for fault in faults]
        return FailoverReport(drill, faults, outages, audit(fleet, held))


def _started(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start the supervisor as a user does, in a new process."""
    interpreter, _, *arguments = command
    return subprocess.Popen([interpreter, "-m", "maskstream", *arguments], **options)


def _wait_for_events(fleet: Fleet, fault: Fault) -> None:
    """Wait until the cameras of a fault have new events. After the kill of a supervisor they may go on with the former ones."""

    def begun() -> set[str]:
        starts = [record for record in fleet.records() if record.get("phase") == "start"]
        return {each["source"] for each in starts if datetime.fromisoformat(each["began_utc"]).timestamp() > fault.at_utc}

    if fault.what != SUPERVISOR:
        wait_until(lambda: begun() >= set(fault.cameras))


def _first_frames(fleet: Fleet) -> dict[str, list[float]]:
    """Return when the first frames of all assignments were captured, after the fleet has ended: it locks the file."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(fleet.folder / "state" / "collector.db")) as database:
        for camera, at_utc in database.execute("SELECT camera, at_utc FROM hand_overs"):
            found.setdefault(camera, []).append(at_utc)
    return found


def _outages(fault: Fault, cameras: ClipCameras, first_frames: dict[str, list[float]]) -> list[Outage]:
    return [_outage(fault, camera, cameras, first_frames[camera]) for camera in fault.cameras]


def _outage(fault: Fault, camera: str, cameras: ClipCameras, first_frames_utc: list[float]) -> Outage:
    """Return when a camera was seen again."""
    at_utc, plays = fault.at_utc, cameras.of(camera)
    kept = [play for play in plays if play.began_utc <= at_utc and (play.ended_utc or at_utc) > at_utc + _KEPT_S]
    if fault.what == SUPERVISOR and kept:
        return Outage(camera, 0.0, 0.0)
    again_utc = min(play.began_utc for play in plays if play.began_utc > at_utc)
    first_utc = min(each for each in first_frames_utc if each > at_utc)
    return Outage(camera, again_utc - at_utc, first_utc - at_utc)
