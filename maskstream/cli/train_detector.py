"""`maskstream train-detector`: train a detector of faces with eyes and nose; configs/train_detector.yaml says how."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.cli.parser import require_options
from maskstream.cli.training_command import add_training_options, run_training

if TYPE_CHECKING:
    from maskstream.config.loading import Layer
    from maskstream.training.run import TrainingRequest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add what is learnt from, and the options of any training."""
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--annotations", type=Path, metavar="PATH", help="labels to learn from: COCO keypoints")
    parser.add_argument("--val-annotations", type=Path, metavar="PATH", help="labels to choose the best weights by")
    add_training_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train it."""
    return run_training(arguments, train)


def train(arguments: argparse.Namespace, request: "TrainingRequest", layers: "list[Layer]") -> dict[str, float]:
    """Train, or only try out, what the command line asks for; return the figures."""
    from maskstream.training.run import load_detector_recipe, train_detector, try_detector

    require_options(arguments, "images", "annotations")
    recipe = load_detector_recipe(arguments.config, layers, dry_run=arguments.dry_run)
    if arguments.dry_run:
        return try_detector(request, recipe, arguments.images, arguments.annotations)
    require_options(arguments, "val_annotations")
    return train_detector(request, recipe, arguments.images, (arguments.annotations, arguments.val_annotations))
