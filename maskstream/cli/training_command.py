"""Options and start-up of the commands `train-detector` and `train-classifier`."""

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
    from rich.console import Console

    from maskstream.config.loading import Layer
    from maskstream.training.run import TrainingRequest

BACKBONE_HELP = "torchvision's ImageNet weights: a file, or none for a random start; default: download"


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of both trainings."""
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="file of the best weights, .safetensors; history and curves are written beside it",
    )
    parser.add_argument(
        "--run", type=Path, metavar="DIR", help="folder of the state that a stopped training resumes from; default: beside --out"
    )
    parser.add_argument("--backbone-weights", metavar="FILE", help=BACKBONE_HELP)
    parser.add_argument(
        "--init",
        type=own_or_shipped,
        metavar="FILE",
        help="start from these weights of maskstream, such as weights/NAME.safetensors",
    )
    parser.add_argument(
        "--config", type=own_or_shipped, metavar="FILE", help="YAML file that overrides settings of the recipe in configs/"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override one setting; may be repeated")
    parser.add_argument("--device", default="auto", metavar="NAME", help=DEVICE_HELP)
    parser.add_argument("--strict", action="store_true", help=STRICT_HELP)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check the set-up: train on eight images (crops) and validate on the same; writes no file",
    )
    parser.add_argument("--quiet", action="store_true", help=QUIET_HELP)


def run_training(
    arguments: argparse.Namespace, train: "Callable[[argparse.Namespace, TrainingRequest, list[Layer]], dict[str, float]]"
) -> int:
    """Call `train` with the options of the command line, and print the metrics that it returns."""
    from rich.console import Console

    from maskstream.config.loading import Layer

    console = Console(stderr=True)
    is_first = os.environ.get("RANK", "0") == "0"
    is_quiet = arguments.quiet or not is_first  # of several processes under torchrun only the first one reports
    start_log(console, "ERROR" if is_quiet else "INFO")
    keep_freed_memory()
    if not arguments.dry_run and not getattr(arguments, "check", None):
        require_options(arguments, "out")
    layers = [Layer.of_assignment(assignment) for assignment in arguments.set]
    request = _request_of(arguments, console if console.is_terminal and not is_quiet else None)
    try:
        with insistent_interrupts():
            metrics = train(arguments, request, layers)
    except KeyboardInterrupt:
        print("stopped; the same command resumes from here", file=sys.stderr)
        return 130
    if is_first:
        print("  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    return 0


def _request_of(arguments: argparse.Namespace, progress: "Console | None") -> "TrainingRequest":
    from maskstream.training.run import TrainingRequest

    return TrainingRequest(
        out=arguments.out or Path(),
        run=arguments.run,
        device=arguments.device,
        backbone_weights=arguments.backbone_weights,
        init=arguments.init,
        strict=arguments.strict,
        command=arguments.command_line,
        progress=progress,
    )
