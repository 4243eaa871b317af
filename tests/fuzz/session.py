"""Runs the process that reads damaged files, outlives it, and keeps what broke it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Final

from tests.command_lines import ROOT
from tests.fuzz.child import STACK, Samples

SILENT_S: Final = 300.0
"""After which a process that says nothing is taken for hanging; what it computes is limited by itself."""
_AT_A_TIME: Final = 2000
"""Files for each process: what it leaks must not count against those that come late."""


@dataclass(frozen=True)
class Finding:
    """A damaged file that ended in something else than an answer or one of our errors."""

    target: str
    seed: int
    number: int
    reason: str
    kept: Path
    """A copy of the file."""

    def __str__(self) -> str:
        again = f"python -m tests.fuzz --only {self.target} --seed {self.seed} --number {self.number}"
        return f"{self.target}: {self.reason}\n  file: {self.kept}\n  again: {again}"


@dataclass(frozen=True)
class Plan:
    """What is tried: damaged files `first` to `first + count - 1` of a target."""

    target: str
    seed: int
    first: int
    count: int
    keep: Path
    """Folder for files that broke something."""
    module: str = "tests.fuzz.targets"
    """Has `TARGETS`."""
    is_over: Callable[[], bool] = lambda: False
    """Whether to stop, asked before each file."""


@dataclass
class _Course:
    """How far a process came."""

    begun: int | None = None
    ended: int = 0
    failed: dict[int, str] = field(default_factory=dict)
    is_over: bool = False


def run(plan: Plan) -> tuple[int, list[Finding]]:
    """Return how many files were tried, and what was found."""
    number, last, findings = plan.first, plan.first + plan.count, []
    while number < last and not plan.is_over():
        course, reason = _run_process(plan, number, min(_AT_A_TIME, last - number))
        findings += [_keep(plan, failed, why) for failed, why in course.failed.items()]
        number += course.ended
        if reason:
            findings.append(_keep(plan, number, reason))
            number += 1
        if course.is_over:
            break
    return number - plan.first, findings


def _run_process(plan: Plan, first: int, count: int) -> tuple[_Course, str]:
    """Return how far a process came, and what its end was where that came too early."""
    with TemporaryDirectory() as folder:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": folder, "TMPDIR": folder}
        command = [
            sys.executable,
            "-m",
            "tests.fuzz.child",
            plan.module,
            plan.target,
            *map(str, (plan.seed, first, count)),
            folder,
        ]
        said = Path(folder, "stderr.txt")
        with said.open("wb") as errors:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, cwd=folder, env=environment, text=True)
            with process:
                course = _follow(process, plan.is_over)
        if process.returncode == 0 or course.is_over:
            return course, ""
        if course.begun is None or course.begun < first:
            raise AssertionError(f"{plan.target}: its whole files cannot be read: {said.read_text(errors='replace')[-3000:]}")
        stack = Path(folder, STACK).read_text() or said.read_text(errors="replace")
        return course, f"{_end_of(process.returncode)}; {' '.join(stack[-1500:].split())}"


def _follow(process: "subprocess.Popen[str]", is_over: Callable[[], bool]) -> _Course:
    course = _Course()
    try:
        for line in _lines(process):
            what, number, *why = line.rstrip("\n").split(" ", 2)
            if what == "begin":
                course.begun = int(number)
                course.is_over = is_over()
                if course.is_over:
                    break
            else:
                course.ended += 1
            if what == "fail":
                course.failed[int(number)] = why[0]
    finally:
        if process.poll() is None and course.is_over:
            process.kill()
    return course


def _lines(process: "subprocess.Popen[str]") -> Iterator[str]:
    """Yield what a process says; it is killed where it falls silent."""
    assert process.stdout is not None
    while True:
        watchdog = Timer(SILENT_S, process.kill)
        watchdog.start()
        line = process.stdout.readline()
        watchdog.cancel()
        if not line:
            return
        if re.match(r"(begin|end|fail) -?\d+", line):
            yield line


def _end_of(code: int) -> str:
    if code == -signal.SIGKILL:
        return f"said nothing for {SILENT_S:g} s, or was killed for its memory"
    return f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _keep(plan: Plan, number: int, reason: str) -> Finding:
    """Make the file once more, where it stays."""
    with TemporaryDirectory() as folder:
        samples = Samples.of(import_module(plan.module).TARGETS[plan.target], Path(folder) / "files")
        name, content = samples.damaged(plan.target, plan.seed, number)
    plan.keep.mkdir(parents=True, exist_ok=True)
    kept = plan.keep / f"{plan.target}_{plan.seed}_{number}_{Path(name).name}"
    kept.write_bytes(content)
    return Finding(plan.target, plan.seed, number, reason, kept)
