"""`maskstream train-detector`: train a detector of faces, eyes and nose with the settings of configs/train_detector.yaml."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.cli.parser import require_options
from maskstream.cli.training_command import add_training_options, run_training

if TYPE_CHECKING:
    from maskstream.config.loading import Layer
    from maskstream.training.run import TrainingRequest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train-detector`."""
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    parser.add_argument("--annotations", type=Path, metavar="PATH", help="training labels: COCO keypoints")
    parser.add_argument("--val-annotations", type=Path, metavar="PATH", help="validation labels; they select the best weights")
    add_training_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train the detector."""
    return run_training(arguments, train)


def train(arguments: argparse.Namespace, request: "TrainingRequest", layers: "list[Layer]") -> dict[str, float]:
    """Train, or do a dry run; return the metrics."""
    from maskstream.training.run import load_detector_recipe, train_detector, try_detector

    require_options(arguments, "images", "annotations")
    recipe = load_detector_recipe(arguments.config, layers, dry_run=arguments.dry_run)
    if arguments.dry_run:
        return try_detector(request, recipe, arguments.images, arguments.annotations)
    require_options(arguments, "val_annotations")
    return train_detector(request, recipe, arguments.images, (arguments.annotations, arguments.val_annotations))
