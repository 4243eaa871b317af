#!/usr/bin/env python3
"""Train a classifier of face crops from tools/make_crops.py; configs/train_classifier.yaml has the recipe.

python tools/train_classifier.py --data DIR --out weights/NAME.safetensors      # DIR/train/CLASS and DIR/val/CLASS
torchrun --nproc-per-node 2 tools/train_classifier.py ...                       # several GPUs, or the cores of a CPU
python tools/train_classifier.py --data DIR --check weights/NAME.safetensors    # only classify DIR/val

The same command resumes a training that was stopped.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("train-classifier", argv, "tools/train_classifier.py")


if __name__ == "__main__":
    sys.exit(main())
