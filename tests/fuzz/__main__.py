"""Looks for damaged files that break the program: python -m tests.fuzz --seconds 600 --seed 7."""

import argparse
import sys
from itertools import count
from pathlib import Path
from time import monotonic

from tests.fuzz.session import Plan, run
from tests.fuzz.targets import TARGETS

IN_TURN = 100
"""Files of one kind, before it is the turn of the next."""


def main() -> int:
    """Try kinds in turn until the time is over; return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=60, metavar="N", help="how long to look; default: 60")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other numbers, other files; default: 0")
    parser.add_argument(
        "--only", action="append", choices=TARGETS, metavar="KIND", help=f"one of {', '.join(TARGETS)}; may be repeated"
    )
    parser.add_argument("--number", type=int, metavar="N", help="this file of a kind alone, once more")
    parser.add_argument(
        "--keep", type=Path, default=Path("out/fuzz"), metavar="DIR", help="for files that broke something; default: out/fuzz"
    )
    given = parser.parse_args()
    kinds, ends_s = given.only or list(TARGETS), monotonic() + given.seconds
    found, tried = 0, dict.fromkeys(kinds, 0)
    for first in count(0, IN_TURN) if given.number is None else [given.number]:
        for kind in kinds:
            number = IN_TURN if given.number is None else 1
            done, findings = run(Plan(kind, given.seed, first, number, given.keep, is_over=lambda: monotonic() > ends_s))
            tried[kind] += done
            found += len(findings)
            for finding in findings:
                print(finding, flush=True)  # noqa: T201
        if monotonic() > ends_s:
            break
    print(", ".join(f"{number} {kind}" for kind, number in tried.items()), f"tried, {found} found")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
