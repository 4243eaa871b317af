"""Options and start-up of the commands that prepare training data with a detector: `make-crops` and `find-unlabelled`."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maskstream.cli.parser import DETECTOR_HELP, DEVICE_HELP, QUIET_HELP, add_config_options, layers, require_options
from maskstream.cli.process import keep_freed_memory, start_log

if TYPE_CHECKING:
    from rich.console import Console

    from maskstream.config.schema import Config


def add_image_options(parser: argparse.ArgumentParser, labels: str, out: str, out_metavar: str) -> None:
    """Add `--images`, `--labels` and `--out`, which `run_dataset_command` requires."""
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    parser.add_argument("--labels", type=Path, metavar="PATH", help=labels)
    parser.add_argument("--out", type=Path, metavar=out_metavar, help=out)


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """Add the device and the settings of the detector."""
    parser.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    parser.add_argument("--detector", metavar="NAME", help=DETECTOR_HELP)
    add_config_options(parser)
    parser.add_argument("--quiet", action="store_true", help=QUIET_HELP)


def run_dataset_command(arguments: argparse.Namespace, prepare: "Callable[[Config, Console | None], str]") -> int:
    """Load the configuration, call `prepare` with it, and print the text that it returns."""
    from rich.console import Console

    from maskstream.config.loading import load_config

    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else "INFO")
    keep_freed_memory()
    require_options(arguments, "images", "labels", "out")
    config = load_config(arguments.config, layers(arguments))
    print(prepare(config, console if console.is_terminal and not arguments.quiet else None))
    return 0
