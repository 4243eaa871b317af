#!/usr/bin/env python3
"""Train a classifier of face crops that tools/make_crops.py has cut; configs/train_classifier.yaml says how.

python tools/train_classifier.py --data DIR --out weights/NAME.safetensors      # DIR/train/CLASS and DIR/val/CLASS
torchrun --nproc-per-node 2 tools/train_classifier.py ...                       # several GPUs, or the cores of a CPU
python tools/train_classifier.py --data DIR --check weights/NAME.safetensors    # only judge DIR/val

The same command goes on where a killed one was.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.config import Layer
from maskstream.train import TrainingRequest, check_classifier, load_classifier_recipe, train_classifier, try_classifier
from run_stream import Parser
from tools.training_command import add_training_options, require_options, run_training


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description="Train a classifier of face crops.", allow_abbrev=False)
    parser.add_argument("--data", type=Path, metavar="DIR", help="crops: DIR/train/CLASS and DIR/val/CLASS")
    parser.add_argument("--check", metavar="FILE", help="judge DIR/val with these weights, and train nothing")
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="trained classifier to learn from beside the labels")
    add_training_options(parser)
    return run_training(parser, argv, train)


def train(arguments: Namespace, request: TrainingRequest, layers: list[Layer]) -> dict[str, float]:
    require_options(arguments, "data")
    recipe = load_classifier_recipe(arguments.config, layers, dry_run=arguments.dry_run)
    if arguments.check:
        return check_classifier(request, recipe, arguments.data, arguments.check)
    if arguments.dry_run:
        return try_classifier(request, recipe, arguments.data)
    return train_classifier(request, recipe, arguments.data, arguments.teacher)


if __name__ == "__main__":
    sys.exit(main())
