#!/usr/bin/env python3
"""Measure on labelled images how well faces are found and classified; docs/evaluation.md explains every metric.

python tools/evaluate.py --images DIR --labels PATH --out DIR
python tools/evaluate.py --images DIR --labels PATH --out DIR --predictions FILE    # of any system, without a model
python tools/evaluate.py --sets FILE --out DIR                                      # several sets, one table
python tools/evaluate.py --compare RUN RUN --out DIR                                # compare runs
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
