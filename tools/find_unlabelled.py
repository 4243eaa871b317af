#!/usr/bin/env python3
"""Mark faces that nobody labelled, so that no detector is taught that they are none: neither right nor wrong (`ignore`).

python tools/find_unlabelled.py --images DIR --labels TRAIN.json --out NEW.json

A picture without any labelled face is taken for one without faces. Look at some of what it marks:
at 0.9 most are faces, at 0.5 many are not.
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.prepare import find_unlabelled
from maskstream.settings import Config
from run_stream import Parser
from tools.training_command import add_detector_options, run_preparation


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Mark faces that nobody labelled as neither right nor wrong.", allow_abbrev=False)
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--labels", type=Path, metavar="PATH", help="COCO file")
    parser.add_argument("--out", type=Path, metavar="PATH", help="the same with what the detector found beside it")
    parser.add_argument("--only", default="", metavar="REGEX", help="pictures of other names stay as they are")
    parser.add_argument("--min-score", type=float, default=0.9, metavar="P", help="how sure the detector must be; default: 0.9")
    add_detector_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    return run_preparation(arguments, partial(prepare, arguments))


def prepare(arguments: argparse.Namespace, config: Config, progress: Console | None) -> str:
    count = find_unlabelled(arguments.images, arguments.labels, arguments.out, arguments.only, config, progress)
    return f"marked: {count}"


if __name__ == "__main__":
    sys.exit(main())
