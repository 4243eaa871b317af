#!/usr/bin/env python3
"""Mark detected faces without a label as `ignore`, so that a training does not count them as background.

python tools/find_unlabelled.py --images DIR --labels TRAIN.json --out NEW.json

An image without any labelled face counts as an image without faces and stays as it is. Check some of the marked faces:
with a score of 0.9 most are faces, with 0.5 many are not.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("find-unlabelled", argv, "tools/find_unlabelled.py")


if __name__ == "__main__":
    sys.exit(main())
