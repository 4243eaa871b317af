#!/usr/bin/env python3
"""Measure what the detector saves by resting while nothing moves (detector.motion), and what is found later because of it.

python tools/measure_motion.py --source corridor.mp4 --json motion.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("measure-motion", argv, "tools/measure_motion.py")


if __name__ == "__main__":
    sys.exit(main())
