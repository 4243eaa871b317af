"""`maskstream make-crops`: cut labelled faces into OUT/CLASS/*.png, aligned as the stream aligns them."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from maskstream.cli.dataset_command import add_detector_options, add_image_options, run_dataset_command
from maskstream.cli.parser import BOX_HELP, FORMAT_HELP, FORMATS, STRICT_HELP, at_least

if TYPE_CHECKING:
    from rich.console import Console

    from maskstream.config.schema import Config

REQUESTED = ("images", "labels", "out", "format", "box", "keypoints", "size", "strict", "background", "views")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `make-crops`."""
    add_image_options(parser, "file or folder: COCO keypoints, VoTT, Pascal VOC, YOLO", "folder for the crops", "DIR")
    parser.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    parser.add_argument("--box", choices=("face", "head"), default="face", help=BOX_HELP)
    parser.add_argument(
        "--keypoints",
        choices=("labels", "detector", "both"),
        default="labels",
        help="labels (default): labelled keypoints, where there are none those of the detector; both: one crop with each",
    )
    parser.add_argument(
        "--size", type=at_least(32), default=112, metavar="PX", help="side of the classifier's input; default: 112"
    )
    parser.add_argument(
        "--background",
        metavar="REGEX",
        help="in images whose name matches, also cut the detections that are no labelled face, as the class background",
    )
    parser.add_argument(
        "--views",
        type=at_least(0),
        default=0,
        metavar="N",
        help="with --background: also cut the detections in N augmented windows of the images without any face",
    )
    parser.add_argument("--strict", action="store_true", help=STRICT_HELP)
    add_detector_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Cut the crops, and print the number of crops and of missed faces. OUT/crops.json has the reason of each missed face."""
    return run_dataset_command(arguments, partial(prepare, arguments))


def prepare(arguments: argparse.Namespace, config: "Config", progress: "Console | None") -> str:
    """Cut the crops; return the text to print."""
    from maskstream.io.files import readable_by
    from maskstream.training.prepare import CropRequest, cut_crops

    request = CropRequest(**{name: getattr(arguments, name) for name in REQUESTED}, progress=progress)
    with readable_by(config.privacy.readable_by):
        description = cut_crops(request, config)
    lines = []
    for title in ("crops", "missed"):
        counts = [f"{count} {name}" for name, count in description[title].items()]
        lines.append(f"{title}: {', '.join(counts) or 'none'}")
    return "\n".join(lines)
