"""`maskstream find-unlabelled`: mark unlabelled faces with `ignore`, so that no training counts them as background."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from maskstream.cli.dataset_command import add_detector_options, add_image_options, run_dataset_command

if TYPE_CHECKING:
    from rich.console import Console

    from maskstream.config.schema import Config


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `find-unlabelled`."""
    add_image_options(parser, "COCO file", "COCO file to write: the labels and the detected unlabelled faces", "PATH")
    parser.add_argument("--only", default="", metavar="REGEX", help="change only images whose name matches; default: all")
    parser.add_argument("--min-score", type=float, default=0.9, metavar="P", help="minimum score of a detection; default: 0.9")
    add_detector_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Mark the faces, and print their number."""
    return run_dataset_command(arguments, partial(prepare, arguments))


def prepare(arguments: argparse.Namespace, config: "Config", progress: "Console | None") -> str:
    """Mark detections that are no labelled face; return the text to print."""
    from maskstream.training.prepare import find_unlabelled

    count = find_unlabelled(arguments.images, arguments.labels, arguments.out, arguments.only, config, progress)
    return f"marked: {count}"
