"""Measure the time and the memory of the merge of many results: python -m tests.fleet.merge_load --files 1000 10000 100000.

The results are copies of one that the sinks of a run wrote: 240 steps of time, three people, three events. Each merge runs in a
process of its own. The files of the largest archive need about 30 kB each.
"""

import argparse
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from maskstream.fleet.archive_results import EVENTS, SUMMARY, MergedJob, result_folder
from maskstream.fleet.merge import OUTPUTS, merge
from maskstream.types import Label
from tests.fleet.results import written

_PER_FOLDER = 200


def jobs_of(files: int) -> list[MergedJob]:
    """Return the jobs of an archive with 200 files in each folder."""
    return [
        MergedJob(f"{number * 2654435761 % 2**32:08x}{number:056x}", f"nas/{number // _PER_FOLDER}/{number}.mp4", 10**8)
        for number in range(files)
    ]


def make(archive: Path, files: int) -> None:
    """Write the results."""
    texts = [text.encode() for text in written((Label.NO_MASK, Label.INCORRECT, Label.MASK), 240)]
    for job in jobs_of(files):
        folder = result_folder(archive, job.job_id)
        folder.mkdir(parents=True)
        for name, text in zip((SUMMARY, EVENTS), texts, strict=True):
            (folder / name).write_bytes(text)


def measure(archive: Path, files: int) -> None:
    """Merge, and print what it cost."""
    jobs = jobs_of(files)
    before_mb = _peak_mb()
    began_s, began_cpu_s = perf_counter(), process_time()
    totals = merge(archive, jobs, [])
    took_s, cpu_s = perf_counter() - began_s, process_time() - began_cpu_s
    assert (totals.files, totals.failed) == (files, 0)
    sizes = ", ".join(f"{name} {(archive / name).stat().st_size / 1e6:.1f} MB" for name in OUTPUTS)
    print(  # noqa: T201 (a program)
        f"{files:,} files: {took_s:.1f} s, {cpu_s:.1f} s of a processor, "
        f"peak {_peak_mb():.0f} MB ({before_mb:.0f} MB before the merge); {sizes}"
    )


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--folder", help="where the results are written for a while; default: the temporary folder")
    parser.add_argument("--merge", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.merge is not None:
        measure(arguments.merge, *arguments.files)
        return
    for files in arguments.files:
        with TemporaryDirectory(dir=arguments.folder) as archive:
            make(Path(archive), files)
            command = [sys.executable, "-m", "tests.fleet.merge_load", "--merge", archive, "--files", str(files)]
            subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
