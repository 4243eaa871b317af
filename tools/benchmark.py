#!/usr/bin/env python3
"""Time the program, its parts, and other programs that do the same work, in turns on the same frames.

python tools/benchmark.py --source clip.mp4
python tools/benchmark.py --source clip.mp4 --compare backends --compare paper --json speed.json --png speed.png
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("benchmark", argv, "tools/benchmark.py")


if __name__ == "__main__":
    sys.exit(main())
