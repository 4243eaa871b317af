#!/usr/bin/env python3
"""Cut labelled faces out of pictures, upright as the stream cuts them, into OUT/CLASS/*.png; OUT/crops.json says what was missed.

python tools/make_crops.py --images DIR --labels TRAIN.json --out crops/train
"""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.prepare import CropRequest, cut_crops
from maskstream.settings import Config
from run_stream import Parser
from tools.training_command import add_detector_options, run_preparation


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Cut labelled faces out of pictures, upright as the stream cuts them.", allow_abbrev=False)
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--labels", type=Path, metavar="PATH", help="file or folder: COCO keypoints, VoTT, Pascal VOC, YOLO")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the crops")
    parser.add_argument(
        "--format", choices=("voc", "vott", "coco", "yolo"), help="of the labels; told by their content otherwise"
    )
    parser.add_argument(
        "--box", choices=("face", "head"), default="face", help="what the labels go around: tight face or whole head"
    )
    parser.add_argument(
        "--keypoints",
        choices=("labels", "detector", "both"),
        default="labels",
        help="labels: theirs, and the detector's for a face without; both: a crop with each",
    )
    parser.add_argument("--size", type=int, default=112, metavar="PX", help="side of what the classifier sees; default: 112")
    parser.add_argument(
        "--background",
        metavar="REGEX",
        help="in pictures of such names, what the detector finds where nothing is labelled is cut too, as the class background",
    )
    parser.add_argument("--strict", action="store_true", help="refuse broken labels and pictures instead of leaving them out")
    add_detector_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    return run_preparation(arguments, partial(prepare, arguments))


def prepare(arguments: argparse.Namespace, config: Config, progress: Console | None) -> str:
    names = ("images", "labels", "out", "format", "box", "keypoints", "size", "strict", "background")
    description = cut_crops(CropRequest(**{name: getattr(arguments, name) for name in names}, progress=progress), config)
    counts = {title: ", ".join(f"{count} {name}" for name, count in description[title].items()) for title in ("crops", "missed")}
    return "\n".join(f"{title}: {some or 'none'}" for title, some in counts.items())


if __name__ == "__main__":
    sys.exit(main())
