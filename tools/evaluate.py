#!/usr/bin/env python3
"""Measure how well faces are found and judged, on labelled pictures; docs/evaluation.md says what every figure means.

python tools/evaluate.py --images DIR --labels PATH --out DIR
python tools/evaluate.py --images DIR --labels PATH --out DIR --predictions FILE    # anyone's, without a model
python tools/evaluate.py --compare RUN RUN --out DIR                                # runs side by side
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.cli.main import run_command


def main(argv: Sequence[str] | None = None) -> int:
    return run_command("evaluate", argv, "tools/evaluate.py")


if __name__ == "__main__":
    sys.exit(main())
