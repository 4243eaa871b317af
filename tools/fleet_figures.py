#!/usr/bin/env python3
"""Measure what docs/fleet.md says about fleets and archives. Each command prints its tables, and then one line of JSON.

python tools/fleet_figures.py plan                        how long the supervisor plans for many cameras, without nodes
python tools/fleet_figures.py failover                    kill and stop agents and supervisors of a fleet with RTSP cameras
python tools/fleet_figures.py capacity                    raise the number of cameras until one agent drops frames
python tools/fleet_figures.py archive --clips videos/     1, 2 and 4 workers against one run, with kills, and every byte compared

All but `plan` need a checkout, requirements-dev.txt and ffmpeg, and take minutes: all processors should be free.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.benchmark.machine import machine
from maskstream.io.folders import VIDEO_SUFFIXES
from tests.command_lines import ROOT
from tests.fleet import archive_figures, capacity_figures, failover_figures
from tests.fleet.figure_tables import table
from tests.fleet.fleet_faults import AGENT, BOTH, HANG, SUPERVISOR
from tests.fleet.planning_figures import planning_ms

SIZES: Final = ((16, 2), (100, 6), (1000, 60))
"""Cameras and nodes."""
DEMO: Final = ROOT / "assets" / "demo.mp4"
Measured: TypeAlias = tuple[str, dict[str, Any]]
"""Tables, and the same for JSON."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the chosen measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="what", required=True)
    commands.add_parser("plan").set_defaults(measure=measured_planning)
    add_failover(commands.add_parser("failover"))
    add_capacity(commands.add_parser("capacity"))
    add_archive(commands.add_parser("archive"))
    given = parser.parse_args(argv)
    measure: Callable[[argparse.Namespace], Measured] = given.measure
    tables, record = measure(given)
    print(tables)
    print(json.dumps({"what": given.what, **record, "machine": machine()}))


def add_failover(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--agents", type=int, default=2)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second of each camera")
    parser.add_argument("--kills", type=int, default=10, help="an agent is killed")
    parser.add_argument("--hangs", type=int, default=5, help="an agent is stopped, and goes on later")
    parser.add_argument("--supervisor-kills", type=int, default=10, help="the supervisor is killed, and started again")
    parser.add_argument("--both-kills", type=int, default=5, help="the supervisor is killed, and 5 s later an agent")
    parser.add_argument("--pause-s", type=float, default=6.0, help="between a fault and the next")
    parser.add_argument("--video", type=Path, default=DEMO, help="what the cameras show")
    parser.set_defaults(measure=measured_failover)


def add_capacity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--fps", type=float, default=5.0, help="frames a second that each camera sends")
    parser.add_argument("--stride", type=int, default=1, help="analyse every Nth of them")
    parser.add_argument("--most", type=int, default=64, help="try no more cameras")
    parser.add_argument("--dropped", type=float, default=0.02, help="fraction of the frames that may be dropped")
    parser.add_argument("--settle-s", type=float, default=15.0)
    parser.add_argument("--window-s", type=float, default=20.0)
    parser.add_argument("--video", type=Path, default=DEMO, help="what the cameras show")
    parser.set_defaults(measure=measured_capacity)


def add_archive(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clips", type=Path, nargs="+", required=True, metavar="DIR", help="folders of videos to cut clips from")
    parser.add_argument("--number", type=int, default=200, metavar="N", help="clips")
    parser.add_argument("--clip-s", type=float, default=1.0, help="length of a clip")
    parser.add_argument("--kills", type=int, default=10, help="workers killed in each run with kills; 0: no such runs")
    parser.add_argument("--seed", type=int, default=1, help="of the random moments")
    parser.add_argument("--folder", type=Path, help="where clips and results are written for a while")
    parser.set_defaults(measure=measured_archive)


def measured_planning(_: argparse.Namespace) -> Measured:
    head = [
        "cameras",
        "nodes",
        "plan from nothing",
        "plan, nothing to do",
        "first turn",
        "quiet turn",
        "turn after a node is lost",
    ]
    measured = [(cameras, nodes, planning_ms(cameras, nodes)) for cameras, nodes in SIZES]
    rows = [[cameras, nodes, *(f"{each_ms:.3g} ms" for each_ms in times_ms)] for cameras, nodes, times_ms in measured]
    return table(head, rows), {"rows": measured}


def measured_failover(given: argparse.Namespace) -> Measured:
    drill = failover_figures.Drill(
        video=given.video,
        agents=given.agents,
        cameras=given.cameras,
        fps=given.fps,
        times={AGENT: given.kills, HANG: given.hangs, SUPERVISOR: given.supervisor_kills, BOTH: given.both_kills},
        pause_s=given.pause_s,
    )
    report = failover_figures.measure(drill)
    return report.tables(), report.record()


def measured_capacity(given: argparse.Namespace) -> Measured:
    load = capacity_figures.Load(
        video=given.video,
        fps=given.fps,
        stride=given.stride,
        most=given.most,
        dropped_share=given.dropped,
        settle_s=given.settle_s,
        window_s=given.window_s,
    )
    report = capacity_figures.measure(load)
    return report.table(), report.record()


def measured_archive(given: argparse.Namespace) -> Measured:
    videos = tuple(path for folder in given.clips for path in sorted(folder.iterdir()) if path.suffix.lower() in VIDEO_SUFFIXES)
    if not videos:
        raise SystemExit(f"{given.clips[0]}: there are no videos; give a folder of them")
    archive = archive_figures.Archive(videos, given.number, given.clip_s, given.kills, given.seed)
    report = archive_figures.measure(archive, given.folder)
    return report.table(), report.record()


if __name__ == "__main__":
    main()
