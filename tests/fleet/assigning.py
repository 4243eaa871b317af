"""Assign cameras without end, and report each epoch once it is acknowledged: python -m tests.fleet.assigning FOLDER."""

import os
import sys
from pathlib import Path

from maskstream.fleet.assignments import Assignments


def main() -> None:
    assignments = Assignments(Path(sys.argv[1]))
    os.write(1, f"term {assignments.term}\n".encode())
    for number in range(1_000_000):
        camera, node = f"camera {number % 7}", f"node {number % 3}"
        keep = [camera] if number % 2 else []
        epoch = assignments.assign_all({camera: node}, keep)[camera]
        os.write(1, f"{camera}/{node}/{epoch}\n".encode())
        assignments.remove(row.epoch for row in assignments.others())
        assignments.forget(row.epoch for row in assignments.others())


if __name__ == "__main__":
    main()
