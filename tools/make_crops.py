#!/usr/bin/env python3
"""Cut labelled faces out of images, upright as in the stream, into OUT/CLASS/*.png; OUT/crops.json lists what was missed.

Faces of unknown class are cut into OUT/unlabelled.

python tools/make_crops.py --images DIR --labels TRAIN.json --out crops/train
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("make-crops", argv, "tools/make_crops.py")


if __name__ == "__main__":
    sys.exit(main())
