#!/usr/bin/env python3
"""Train a detector of faces with their eyes and nose; configs/train_detector.yaml has the recipe.

python tools/train_detector.py --images DIR --annotations TRAIN.json --val-annotations VAL.json --out weights/NAME.safetensors
torchrun --nproc-per-node 2 tools/train_detector.py ...     # several GPUs, or the cores of a CPU

The same command resumes a training that was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("train-detector", argv, "tools/train_detector.py")


if __name__ == "__main__":
    sys.exit(main())
