#!/usr/bin/env python3
"""Measure tracking, steady labels and events on video files.

python tools/measure_people.py --source clip.mp4 --labels tests/fixtures/masks_on_and_off.json --json people.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("measure-people", argv, "tools/measure_people.py")


if __name__ == "__main__":
    sys.exit(main())
