"""Measure what Ray costs on this machine, next to local processes: `python -m tests.fleet.ray_costs`.

Times are the shortest and the middle one of several: other work on the machine only makes them longer.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import psutil

from maskstream.fleet.local_placement import LocalPlacement
from maskstream.fleet.placement import Placement, WorkerSpec
from maskstream.fleet.ray_placement import RayPlacement

ROUNDS = 7
CALLS = 300
WAIT_S = 600.0


def main() -> None:
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # else Ray writes a token into the user's home
    say = sys.stdout.write
    began_s = perf_counter()
    import ray

    say(f"import ray {ray.__version__}: {perf_counter() - began_s:.2f} s\n")
    with tempfile.TemporaryDirectory() as folder, LocalPlacement(Path(folder) / "workers") as local:
        measure("local processes", local)
    starts = []
    for number in range(3):
        began_s = perf_counter()
        with RayPlacement("local") as cluster:
            starts.append(perf_counter() - began_s)
            if number == 2:
                say(f"Ray with one raylet: starts in {min(starts):.1f} s ({median(starts):.1f})\n")
                for line in memory():
                    say(f"    {line}\n")
                measure("actors of Ray", cluster)


def measure(title: str, placement: Placement) -> None:
    first, workers = [], []
    for number in range(ROUNDS):
        began_s = perf_counter()
        workers.append(placement.start(WorkerSpec(f"worker-{number}", "tests.fleet.targets:Counter", cpus=0.01)))
        workers[-1].call("add").result(WAIT_S)
        first.append(perf_counter() - began_s)
    size = psutil.Process(workers[0].call("pid").result(WAIT_S)).memory_info().rss
    calls = []
    for _ in range(CALLS):
        began_s = perf_counter()
        workers[0].call("add").result(WAIT_S)
        calls.append(perf_counter() - began_s)
    sys.stdout.write(
        f"{title}: first answer {min(first):.2f} s after start ({median(first):.2f}), a call {1e3 * min(calls):.2f} ms "
        f"({1e3 * median(calls):.2f}), a worker {size / 1e6:.0f} MB\n"
    )


def memory() -> Iterator[str]:
    """Yield the resident memory of all processes that Ray has started, and their sum."""
    sizes = sorted((process.memory_info().rss, _name(process)) for process in psutil.Process().children(recursive=True))
    for size, name in reversed(sizes):
        yield f"{size / 1e6:4.0f} MB {name}"
    yield f"{sum(size for size, _ in sizes) / 1e6:4.0f} MB in all, {len(sizes)} processes"


def _name(process: psutil.Process) -> str:
    """Return the name of the process; that of the script where Python runs one."""
    scripts = [Path(word).name for word in process.cmdline() if word.endswith(".py")]
    return scripts[0] if process.name().startswith("python") and scripts else process.name()


if __name__ == "__main__":
    main()
