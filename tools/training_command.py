"""The command lines that the trainers share, and those that prepare what they learn from."""

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from maskstream.config import Layer, load_config
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.interrupts import insistent_interrupts
from maskstream.settings import Config
from maskstream.train import TrainingRequest
from run_stream import keep_freed_memory, layers, start_log

BACKBONE_HELP = "torchvision's ImageNet weights: a file, or none for a random start; fetched otherwise"
Train = Callable[[Namespace, TrainingRequest, list[Layer]], dict[str, float]]


def add_training_options(parser: ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, metavar="FILE", help="the best weights, .safetensors; history and curves beside them")
    parser.add_argument("--run", type=Path, metavar="DIR", help="what a killed training goes on from; default: beside --out")
    parser.add_argument("--backbone-weights", metavar="FILE", help=BACKBONE_HELP)
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="weights of ours to start from, such as weights/NAME.safetensors"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over the recipe in configs/")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting of it; may be repeated")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--strict", action="store_true", help="refuse broken labels and pictures instead of leaving them out")
    parser.add_argument("--dry-run", action="store_true", help="see whether eight pictures are learnt by heart; leaves nothing")
    parser.add_argument("--quiet", action="store_true", help="only errors, no progress bar")


def require_options(arguments: Namespace, *names: str) -> None:
    for name in names:
        if getattr(arguments, name) is None:
            raise ConfigError(f"--{name.replace('_', '-')} is missing; see --help")


def add_detector_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--detector", metavar="NAME", help="face_mobilenet or coco_resnet50")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over configs/default.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="only errors, no progress bar")


def run_preparation(arguments: Namespace, prepare: Callable[[Config, Console | None], str]) -> int:
    """Prepare what a command line asks for, from images and labels; return the exit code."""
    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else "INFO")
    keep_freed_memory()
    try:
        require_options(arguments, "images", "labels", "out")
        config = load_config(arguments.config, layers(arguments))
        print(prepare(config, console if console.is_terminal and not arguments.quiet else None))
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def run_training(parser: ArgumentParser, argv: Sequence[str] | None, train: Train) -> int:
    """Train what the command line asks for; return the exit code."""
    arguments = parser.parse_args(argv)
    console = Console(stderr=True)
    is_first = os.environ.get("RANK", "0") == "0"
    start_log(console, "ERROR" if arguments.quiet or not is_first else "INFO")
    keep_freed_memory()
    try:
        if not arguments.dry_run and not getattr(arguments, "check", None):
            require_options(arguments, "out")
        request = TrainingRequest(
            out=arguments.out or Path(),
            run=arguments.run,
            device=arguments.device,
            backbone_weights=arguments.backbone_weights,
            init=arguments.init,
            strict=arguments.strict,
            command=shlex.join(["python", f"tools/{Path(sys.argv[0]).name}", *(sys.argv[1:] if argv is None else argv)]),
            progress=console if is_first and console.is_terminal and not arguments.quiet else None,
        )
        changes = [Layer.of_assignment(assignment) for assignment in arguments.set]
        with insistent_interrupts():
            figures = train(arguments, request, changes)
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if is_first:
        print("  ".join(f"{name} {value:.4f}" for name, value in figures.items()))
    return 0
