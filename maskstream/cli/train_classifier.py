"""`maskstream train-classifier`: train a classifier on crops with the settings of configs/train_classifier.yaml."""

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
    """Add the options of `train-classifier`."""
    parser.add_argument(
        "--data", type=Path, nargs="+", metavar="DIR", help="crops: DIR/train/CLASS and DIR/val/CLASS; one folder or more"
    )
    parser.add_argument("--check", metavar="FILE", help="classify DIR/val with these weights and print the metrics; no training")
    parser.add_argument(
        "--teacher",
        type=own_or_shipped,
        metavar="FILE",
        help="trained classifier; its answers are a training target beside the labels",
    )
    add_training_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Train the classifier."""
    return run_training(arguments, train)


def train(arguments: argparse.Namespace, request: "TrainingRequest", layers: "list[Layer]") -> dict[str, float]:
    """Train, do a dry run, or check existing weights; return the metrics."""
    from maskstream.training.run import check_classifier, load_classifier_recipe, train_classifier, try_classifier

    require_options(arguments, "data")
    recipe = load_classifier_recipe(arguments.config, layers, dry_run=arguments.dry_run)
    if arguments.check:
        return check_classifier(request, recipe, arguments.data, arguments.check)
    if arguments.dry_run:
        return try_classifier(request, recipe, arguments.data)
    return train_classifier(request, recipe, arguments.data, arguments.teacher)
