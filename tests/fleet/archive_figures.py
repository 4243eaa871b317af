"""Analyse many short clips with `maskstream archive`, also while workers and the command are killed, and compare every byte."""

import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import av

from tests.command_lines import ROOT
from tests.fleet.archive_bytes import differences, table_rows
from tests.fleet.archive_killer import Killer
from tests.fleet.figure_tables import table

PROGRAM = (sys.executable, "-m", "maskstream")
WORKERS = (1, 2, 4)


@dataclass(frozen=True)
class Archive:
    """What is analysed, and how often something is killed."""

    videos: tuple[Path, ...]
    """The clips are cut from them."""
    clips: int
    clip_s: float
    kills: int
    """Of workers, in each run with kills; the command is killed once in addition."""
    seed: int = 1
    """Of the random moments and workers."""


@dataclass
class Run:
    """A command, or two where the first was killed."""

    name: str
    workers: int
    """0: the plain loop."""
    kills: int
    """Of workers and of the command."""
    seconds: float
    cpu_s: float
    """Processor time of the command and its workers. Killed ones are incomplete."""
    load: float
    """Average number of running processes in the minute before the run: other work makes it slower."""
    in_files_s: float = 0.0
    """Time from the begin of a file to its commit, added up over the files."""
    failed: int = 0
    """Files without a result."""
    different: list[str] = field(default_factory=list)
    """Files that differ from those of the first run of the archive."""


@dataclass
class ArchiveReport:
    """The result of all runs."""

    archive: Archive
    video_s: float
    runs: list[Run]

    def record(self) -> dict[str, Any]:
        """Return the report for JSON."""
        archive = {**asdict(self.archive), "videos": [video.name for video in self.archive.videos]}
        return {"archive": archive, "video_s": self.video_s, "runs": [asdict(run) for run in self.runs]}

    def table(self) -> str:
        """Return the report as a table."""
        head = ["", "kills", "time", "hours of video per hour", "time against the loop"]
        head += ["processor time against the loop", "load before", "files without a result", "bytes"]
        return table(head, [self._row(run) for run in self.runs])

    def _row(self, run: Run) -> list[object]:
        loop = self.runs[0]
        ratios = [f"{run.seconds / loop.seconds:.2f}", f"{run.cpu_s / loop.cpu_s:.2f}"]
        row = [run.name, run.kills, f"{run.seconds:.1f} s", f"{self.video_s / run.seconds:.2f}"]
        same = "" if run is loop else "the first ones" if run is self.runs[1] else "the same"
        row += ["", ""] if run.kills else ratios
        return [*row, f"{run.load:.1f}", run.failed, f"{len(run.different)} files differ" if run.different else same]


def measure(archive: Archive, folder: Path | None = None) -> ArchiveReport:
    """Cut the clips, run the plain loop and the archive, and compare the results.

    Args:
        archive: What to do.
        folder: Where clips and results are written for a while; None: the temporary folder.
    """
    with tempfile.TemporaryDirectory(dir=folder) as created:
        place = Path(created)
        clips = place / "clips"
        cut(archive, clips)
        first = place / "workers-1"
        runs = [_loop(clips, place / "loop")]
        runs += [_archive(clips, place / f"workers-{workers}", workers, first) for workers in WORKERS]
        if archive.kills:
            for run in runs[2:]:
                output, seed = place / f"killed-{run.workers}", archive.seed + run.workers
                killer = Killer(output, archive.clips, archive.kills, run.seconds, seed)
                runs.append(_archive(clips, killer.output, run.workers, first, killer))
        return ArchiveReport(archive, sum(map(_duration_s, clips.iterdir())), runs)


def cut(archive: Archive, target: Path) -> None:
    """Cut clips out of the videos, in turn, evenly distributed over each."""
    target.mkdir()
    per_video = -(-archive.clips // len(archive.videos))
    for number in range(archive.clips):
        video = archive.videos[number % len(archive.videos)]
        share = (number // len(archive.videos) + 0.5) / per_video
        begin_s = share * max(0.0, _duration_s(video) - archive.clip_s)
        command = ["ffmpeg", "-v", "error", "-ss", f"{begin_s:.3f}", "-i", str(video), "-t", str(archive.clip_s), "-an"]
        command += ["-c:v", "libx264", "-preset", "veryfast", str(target / f"{number:05}-{video.stem}.mp4")]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _duration_s(video: Path) -> float:
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return float(container.duration or 0) / av.time_base


def _loop(clips: Path, output: Path) -> Run:
    """Analyse all clips by one `maskstream run`, with the same records as an archive."""
    output.mkdir()
    records = ["--jsonl", output / "faces.jsonl", "--events", output / "events.jsonl", "--summary", output / "summary.json"]
    command = [*PROGRAM, "run", "--source", clips, *records, "--no-show", "--quiet"]
    return _timed("plain loop", 0, [str(word) for word in command], None)


def _archive(clips: Path, output: Path, workers: int, first: Path, killer: Killer | None = None) -> Run:
    """Analyse all clips by `maskstream archive`, and compare its results with those of the first one."""
    command = [*PROGRAM, "archive", "--input", str(clips), "--output", str(output), "--workers", str(workers), "--quiet"]
    run = _timed(f"{workers} worker{'s' if workers > 1 else ''}", workers, command, killer)
    run.failed = table_rows(output / "failures.csv")
    run.different = differences(first, output)
    with closing(sqlite3.connect(output / "archive.db")) as database:
        (run.in_files_s,) = database.execute("SELECT coalesce(sum(seconds), 0) FROM jobs").fetchone()
    return run


def _timed(name: str, workers: int, command: list[str], killer: Killer | None) -> Run:
    load, before_s, began_s = os.getloadavg()[0], _children_cpu_s(), perf_counter()
    if killer is None:
        subprocess.run(command, check=True, cwd=ROOT, stdin=subprocess.DEVNULL)
    else:
        killer.run(command)
    kills = 0 if killer is None else killer.killed
    return Run(name, workers, kills, perf_counter() - began_s, _children_cpu_s() - before_s, load)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
