#!/usr/bin/env python3
"""Cut labelled faces out of pictures, upright as the stream cuts them, into OUT/CLASS/*.png; OUT/crops.json says what was missed.

python tools/make_crops.py --images DIR --labels TRAIN.json --out crops/train
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.config import load_config
from maskstream.errors import MaskStreamError
from maskstream.train import CropRequest, cut_crops
from run_stream import Parser, keep_freed_memory, layers, start_log
from tools.training_command import require_options


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
    parser.add_argument("--strict", action="store_true", help="refuse broken labels and pictures instead of leaving them out")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--detector", metavar="NAME", help="face_mobilenet or coco_resnet50")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over configs/default.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="only errors, no progress bar")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else "INFO")
    keep_freed_memory()
    try:
        require_options(arguments, "images", "labels", "out")
        names = ("images", "labels", "out", "format", "box", "keypoints", "size", "strict")
        request = CropRequest(
            **{name: getattr(arguments, name) for name in names},
            progress=console if console.is_terminal and not arguments.quiet else None,
        )
        description = cut_crops(request, load_config(arguments.config, layers(arguments)))
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for title in ("crops", "missed"):
        print(f"{title}: " + (", ".join(f"{count} {name}" for name, count in description[title].items()) or "none"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
