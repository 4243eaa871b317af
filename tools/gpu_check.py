#!/usr/bin/env python3
"""Check that a GPU gives the same answers as the CPU, and time it, in at most 8 minutes.

python tools/gpu_check.py --json gpu.json
python tools/gpu_check.py --images photos/ --section equivalence --section crops
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("gpu-check", argv, "tools/gpu_check.py")


if __name__ == "__main__":
    sys.exit(main())
