"""`maskstream train-detector`: train a detector of faces, eyes and nose with the settings of configs/train_detector.yaml."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.cli.parser import require_options
from maskstream.cli.training_command import add_training_options, run_training
from maskstream.io.resources import own_or_shipped

if TYPE_CHECKING:
    from maskstream.config.loading import Layer
    from maskstream.training.run import TrainingRequest


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `train-detector`."""
    parser.add_argument("--images", type=Path, nargs="+", metavar="DIR", help="folder of images: one, or one per label file")
    parser.add_argument("--annotations", type=Path, nargs="+", metavar="PATH", help="training labels: COCO keypoints")
    parser.add_argument(
        "--val-annotations", type=Path, nargs="+", metavar="PATH", help="validation labels; they select the best weights"
    )
    parser.add_argument("--negatives", type=Path, nargs="+", default=[], metavar="DIR", help="folder of images without any face")
    parser.add_argument(
        "--teacher",
        type=own_or_shipped,
        metavar="FILE",
        help="trained detector of any width; its answers are a training target beside the labels",
    )
    add_training_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train the detector."""
    return run_training(arguments, train)


def train(arguments: argparse.Namespace, request: "TrainingRequest", layers: "list[Layer]") -> dict[str, float]:
    """Train, or do a dry run; return the metrics."""
    from maskstream.training.run import DetectorData, load_detector_recipe, train_detector, try_detector

    require_options(arguments, "images", "annotations")
    recipe = load_detector_recipe(arguments.config, layers, dry_run=arguments.dry_run)
    if not arguments.dry_run:
        require_options(arguments, "val_annotations")
    data = DetectorData(arguments.images, arguments.annotations, arguments.val_annotations or (), arguments.negatives)
    if arguments.dry_run:
        return try_detector(request, recipe, data)
    return train_detector(request, recipe, data, arguments.teacher)
