"""`maskstream find-unlabelled`: mark faces that nobody labelled, so that no detector is taught that they are none."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from maskstream.cli.dataset_command import add_detector_options, add_image_options, run_preparation

if TYPE_CHECKING:
    from rich.console import Console

    from maskstream.config.schema import Config


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add which images are looked at, and how sure the detector must be."""
    add_image_options(parser, "COCO file", "the same with what the detector found beside it", "PATH")
    parser.add_argument("--only", default="", metavar="REGEX", help="pictures of other names stay as they are")
    parser.add_argument("--min-score", type=float, default=0.9, metavar="P", help="how sure the detector must be; default: 0.9")
    add_detector_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Mark them, and print how many."""
    return run_preparation(arguments, partial(prepare, arguments))


def prepare(arguments: argparse.Namespace, config: "Config", progress: "Console | None") -> str:
    """Mark what the detector finds where nothing is labelled."""
    from maskstream.training.prepare import find_unlabelled

    count = find_unlabelled(arguments.images, arguments.labels, arguments.out, arguments.only, config, progress)
    return f"marked: {count}"
