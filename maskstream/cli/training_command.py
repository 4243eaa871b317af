"""What `train-detector` and `train-classifier` share."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.cli.interrupts import insistent_interrupts
from maskstream.cli.parser import DEVICE_HELP, QUIET_HELP, STRICT_HELP, require_options
from maskstream.cli.process import keep_freed_memory, start_log
from maskstream.io.resources import own_or_shipped

if TYPE_CHECKING:
    from maskstream.config.loading import Layer
    from maskstream.training.run import TrainingRequest

BACKBONE_HELP = "torchvision's ImageNet weights: a file, or none for a random start; fetched otherwise"


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add what is asked of any training."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="the best weights, .safetensors; history and curves beside them")
    parser.add_argument("--run", type=Path, metavar="DIR", help="what a killed training goes on from; default: beside --out")
    parser.add_argument("--backbone-weights", metavar="FILE", help=BACKBONE_HELP)
    parser.add_argument(
        "--init", type=own_or_shipped, metavar="FILE", help="weights of ours to start from, such as weights/NAME.safetensors"
    )
    parser.add_argument("--config", type=own_or_shipped, metavar="FILE", help="YAML laid over the recipe in configs/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of it; may be repeated")
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    parser.add_argument("--strict", action="store_true", help=STRICT_HELP)
    parser.add_argument("--dry-run", action="store_true", help="see whether eight pictures are learnt by heart; leaves nothing")
    parser.add_argument("--quiet", action="store_true", help=QUIET_HELP)


def run_training(
    arguments: argparse.Namespace, train: "Callable[[argparse.Namespace, TrainingRequest, list[Layer]], dict[str, float]]"
) -> int:
    """Train what the command line asks for, and print the figures."""
    from rich.console import Console

    from maskstream.config.loading import Layer

    console = Console(stderr=True)
    is_first = os.environ.get("RANK", "0") == "0"
    start_log(console, "ERROR" if arguments.quiet or not is_first else "INFO")
    keep_freed_memory()
    if not arguments.dry_run and not getattr(arguments, "check", None):
        require_options(arguments, "out")
    changes = [Layer.of_assignment(assignment) for assignment in arguments.set]

    from maskstream.training.run import TrainingRequest

    request = TrainingRequest(
        out=arguments.out or Path(),
        run=arguments.run,
        device=arguments.device,
        backbone_weights=arguments.backbone_weights,
        init=arguments.init,
        strict=arguments.strict,
        command=arguments.command_line,
        progress=console if is_first and console.is_terminal and not arguments.quiet else None,
    )
    try:
        with insistent_interrupts():
            figures = train(arguments, request, changes)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if is_first:
        print("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    return 0
