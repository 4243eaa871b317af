#!/usr/bin/env python3
"""Mark faces that nobody labelled, so that no detector is taught that they are none: neither right nor wrong (`ignore`).

python tools/find_unlabelled.py --images DIR --labels TRAIN.json --out NEW.json

A picture without any labelled face is taken for one without faces. Look at some of what it marks:
at 0.9 most are faces, at 0.5 many are not.
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
