"""Kill agents and the supervisor of a running `maskstream fleet` with RTSP cameras: how long cameras are blind, what is lost."""

import os
import random
import signal
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any

from tests.cli.fleets import Fleet, running_fleet
from tests.fleet.clip_cameras import ClipCameras, served
from tests.fleet.figure_tables import percentile, table
from tests.fleet.record_audit import Held, RecordAudit, audit, held_records
from tests.receivers import wait_until

KINDS = ("agent", "supervisor", "supervisor, then agent")
_WITHOUT_SUPERVISOR_S = 5.0


@dataclass(frozen=True)
class Drill:
    """How many of what is killed how often."""

    video: Path
    agents: int
    cameras: int
    fps: float
    """Of each camera."""
    agent_kills: int
    supervisor_kills: int
    both_kills: int
    """An agent, 5 s after its supervisor, so that its records wait on its disk."""
    pause_s: float
    """From the end of one fault to the next kill: an agent has started again, and events have begun."""


@dataclass(frozen=True)
class Outage:
    """What a kill was for one camera."""

    camera: str
    connected_s: float
    """From the kill until the camera sent video again."""
    blind_s: float
    """From the kill to the first analysed frame, by the time of its capture. 0: the camera had its viewer all the time."""


@dataclass
class Kill:
    """A kill, and what followed."""

    what: str
    """One of `KINDS`."""
    at_utc: float
    cameras: tuple[str, ...]
    """Those that it concerns."""
    waiting: int
    """Records that were on the disk of the killed agent, and that the supervisor had not acknowledged."""
    records_s: float | None = None
    """From the kill of a supervisor until the next one wrote into the file of events."""
    outages: list[Outage] = field(default_factory=list)


@dataclass
class FailoverReport:
    """The result of a drill."""

    drill: Drill
    kills: list[Kill]
    records: RecordAudit

    def record(self) -> dict[str, Any]:
        """Return the report for JSON."""
        drill = {**asdict(self.drill), "video": self.drill.video.name}
        return {"drill": drill, "kills": [asdict(kill) for kill in self.kills], "records": asdict(self.records)}

    def tables(self) -> str:
        """Return the report as tables."""
        rows = [self._row(what) for what in KINDS if any(kill.what == what for kill in self.kills)]
        head = ["killed", "kills", "cameras concerned", "camera sends again: p50, p95", "blind: p50, p95", "longest"]
        head += ["next record in the file: p50, p95"]
        return f"{table(head, rows)}\n\n{self.records.table()}"

    def _row(self, what: str) -> list[object]:
        kills = [kill for kill in self.kills if kill.what == what]
        outages = [outage for kill in kills for outage in kill.outages]
        blind = [outage.blind_s for outage in outages]
        records = [kill.records_s for kill in kills if kill.records_s is not None]
        columns = [[outage.connected_s for outage in outages], blind, records]
        connected, seen, written = (
            f"{percentile(each, 50):.1f} s, {percentile(each, 95):.1f} s" if each else "" for each in columns
        )
        return [what, len(kills), len(outages), connected, seen, f"{max(blind):.1f} s", written]


def measure(drill: Drill) -> FailoverReport:
    """Run a fleet, kill what the drill says, end the fleet in order, and look what became of the records."""
    names = [f"camera-{number}" for number in range(1, drill.cameras + 1)]
    cameras = ClipCameras(drill.video, drill.fps)
    kills: list[Kill] = []
    held: list[Held] = []
    moments = random.Random(1)  # within a turn of the supervisor
    with tempfile.TemporaryDirectory() as folder, served(cameras, names) as urls:
        options = ("--nodes", str(drill.agents))
        with running_fleet(Path(folder), urls, *options, start_process=_started, max_moves_per_minute=60) as fleet:
            wait_until(lambda: {each["source"] for each in fleet.records()} >= set(names))
            for fault, times in zip(_FAULTS, (drill.agent_kills, drill.supervisor_kills, drill.both_kills), strict=True):
                for _ in range(times):
                    sleep(drill.pause_s + moments.random())
                    kills.append(fault(fleet, held))
            sleep(drill.pause_s)
            ended = fleet.stop()
            assert ended == 130, "\n".join(fleet.log())
            records = audit(fleet, held)
            for kill in kills:
                kill.outages = list(_outages(kill, cameras, fleet))
    return FailoverReport(drill, kills, records)


def _started(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start the supervisor as a user does, in a new process."""
    interpreter, _, *arguments = command
    return subprocess.Popen([interpreter, "-m", "maskstream", *arguments], **options)


def _kill_agent(fleet: Fleet, held: list[Held]) -> Kill:
    """Kill the agent with the most cameras, and wait until another one has them and a new agent has started."""
    agents, seen = len(fleet.agents()), len(fleet.log())
    kill = _killed_agent(fleet, held, KINDS[0])
    fleet.wait_for(*(f"{name}: online: on " for name in kill.cameras), after=seen)
    wait_until(lambda: len(fleet.agents()) == agents)
    return kill


def _kill_supervisor(fleet: Fleet, held: list[Held]) -> Kill:
    """Kill the supervisor, start the next one at once, and wait until it knows all cameras."""
    seen, began_s = len(fleet.log()), monotonic()
    kill = Kill(KINDS[1], time(), tuple(fleet.nodes_of()), 0)
    fleet.kill_supervisor()
    size = fleet.events.stat().st_size
    fleet.start()
    wait_until(lambda: fleet.events.stat().st_size > size)
    kill.records_s = monotonic() - began_s
    fleet.wait_for(*(f"{name}: online" for name in kill.cameras), after=seen)
    return kill


def _kill_both(fleet: Fleet, held: list[Held]) -> Kill:
    """Kill the supervisor, later an agent; start the next supervisor, and wait until it knows all cameras."""
    agents, seen, cameras = len(fleet.agents()), len(fleet.log()), list(fleet.nodes_of())
    fleet.kill_supervisor()
    sleep(_WITHOUT_SUPERVISOR_S)
    kill = _killed_agent(fleet, held, KINDS[2])
    fleet.start()
    fleet.wait_for(*(f"{name}: online" for name in cameras), after=seen)
    wait_until(lambda: len(fleet.agents()) == agents)
    return kill


_FAULTS = (_kill_agent, _kill_supervisor, _kill_both)


def _killed_agent(fleet: Fleet, held: list[Held], what: str) -> Kill:
    """Kill the agent with the most cameras, and remember the records on its disk."""
    placed = fleet.nodes_of()
    node = max(set(placed.values()), key=list(placed.values()).count)
    process = fleet.agents()[node]
    os.kill(process, signal.SIGSTOP)  # for as long as its outbox is copied
    waiting = held_records(fleet.folder / "state" / "nodes" / node)
    held += waiting
    kill = Kill(what, time(), tuple(name for name, at in placed.items() if at == node), len(waiting))
    os.kill(process, signal.SIGKILL)
    return kill


def _outages(kill: Kill, cameras: ClipCameras, fleet: Fleet) -> Iterator[Outage]:
    """Return when cameras were seen again, after the fleet has ended: its files are locked before."""
    first_frames = _first_frames(fleet)
    for camera in kill.cameras:
        plays = cameras.of(camera)
        if any(play.began_utc <= kill.at_utc and (play.ended_utc or time()) > kill.at_utc + _HELD_S for play in plays):
            yield Outage(camera, 0.0, 0.0)
            continue
        again_utc = min(play.began_utc for play in plays if play.began_utc > kill.at_utc)
        first_utc = min(at_utc for at_utc in first_frames[camera] if at_utc > kill.at_utc)
        yield Outage(camera, again_utc - kill.at_utc, first_utc - kill.at_utc)


_HELD_S = 5.0
"""A viewer that is there after this time was not lost by the kill: that of a killed agent is gone at once."""


def _first_frames(fleet: Fleet) -> dict[str, list[float]]:
    """Return when the first frames of all assignments were captured."""
    found: dict[str, list[float]] = {}
    with closing(sqlite3.connect(fleet.folder / "state" / "collector.db")) as database:
        for camera, at_utc in database.execute("SELECT camera, at_utc FROM hand_overs"):
            found.setdefault(camera, []).append(at_utc)
    return found
