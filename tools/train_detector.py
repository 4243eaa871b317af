#!/usr/bin/env python3
"""Train a detector of faces with eyes and nose; configs/train_detector.yaml says how.

python tools/train_detector.py --images DIR --annotations TRAIN.json --val-annotations VAL.json --out weights/NAME.safetensors
torchrun --nproc-per-node 2 tools/train_detector.py ...     # several GPUs, or the cores of a CPU

The same command goes on where a killed one was.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.config import Layer
from maskstream.train import TrainingRequest, load_detector_recipe, train_detector, try_detector
from run_stream import Parser
from tools.training_command import add_training_options, require_options, run_training


def main(argv: Sequence[str] | None = None) -> int:
    parser = Parser(description="Train a detector of faces with eyes and nose.", allow_abbrev=False)
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures")
    parser.add_argument("--annotations", type=Path, metavar="PATH", help="labels to learn from: COCO keypoints")
    parser.add_argument("--val-annotations", type=Path, metavar="PATH", help="labels to choose the best weights by")
    add_training_options(parser)
    return run_training(parser, argv, train)


def train(arguments: Namespace, request: TrainingRequest, layers: list[Layer]) -> dict[str, float]:
    require_options(arguments, "images", "annotations")
    recipe = load_detector_recipe(arguments.config, layers, dry_run=arguments.dry_run)
    if arguments.dry_run:
        return try_detector(request, recipe, arguments.images, arguments.annotations)
    require_options(arguments, "val_annotations")
    return train_detector(request, recipe, arguments.images, (arguments.annotations, arguments.val_annotations))


if __name__ == "__main__":
    sys.exit(main())
