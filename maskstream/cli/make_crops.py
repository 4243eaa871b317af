"""`maskstream make-crops`: cut labelled faces into OUT/CLASS/*.png, upright as the stream cuts them."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from maskstream.cli.dataset_command import add_detector_options, add_image_options, run_preparation
from maskstream.cli.parser import BOX_HELP, FORMAT_HELP, FORMATS, STRICT_HELP

if TYPE_CHECKING:
    from rich.console import Console

    from maskstream.config.schema import Config

REQUESTED = ("images", "labels", "out", "format", "box", "keypoints", "size", "strict", "background")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add which faces are cut, and how."""
    add_image_options(parser, "file or folder: COCO keypoints, VoTT, Pascal VOC, YOLO", "folder for the crops", "DIR")
    parser.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    parser.add_argument("--box", choices=("face", "head"), default="face", help=BOX_HELP)
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
    parser.add_argument("--strict", action="store_true", help=STRICT_HELP)
    add_detector_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Cut them, and print what was cut and what was missed; OUT/crops.json says why."""
    return run_preparation(arguments, partial(prepare, arguments))


def prepare(arguments: argparse.Namespace, config: "Config", progress: "Console | None") -> str:
    """Cut the crops."""
    from maskstream.io.files import readable_by
    from maskstream.training.prepare import CropRequest, cut_crops

    request = CropRequest(**{name: getattr(arguments, name) for name in REQUESTED}, progress=progress)
    with readable_by(config.privacy.readable_by):
        description = cut_crops(request, config)
    counts = {title: ", ".join(f"{count} {name}" for name, count in description[title].items()) for title in ("crops", "missed")}
    return "\n".join(f"{title}: {some or 'none'}" for title, some in counts.items())
