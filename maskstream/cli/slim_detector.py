"""`maskstream slim-detector`: make a narrower detector of a trained one, to train it with the wider one as `--teacher`."""

import argparse
import sys
from pathlib import Path

from maskstream.cli.parser import at_least
from maskstream.io.resources import own_or_shipped


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `slim-detector`."""
    parser.add_argument(
        "--weights", type=own_or_shipped, required=True, metavar="FILE", help="trained weights of face_mobilenet, .safetensors"
    )
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, metavar="DIR", help="folders of training images; about 200 are read"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file of the narrower weights, .safetensors")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="seed of the choice of images; default: 0")


def run(arguments: argparse.Namespace) -> int:
    """Make the narrower detector, and print the size of both files."""
    from rich.console import Console

    from maskstream.cli.process import start_log
    from maskstream.io.files import one_line
    from maskstream.training.slimming_run import slim_file

    start_log(Console(stderr=True), "INFO")
    try:
        slim_file(arguments.weights, arguments.images, arguments.out, arguments.seed, arguments.command_line)
    except KeyboardInterrupt:
        print("stopped; nothing is written", file=sys.stderr)
        return 130
    sizes = [path.stat().st_size / 1e6 for path in (arguments.out, arguments.weights)]
    print(f"{one_line(str(arguments.out))}: {sizes[0]:.1f} MB of {sizes[1]:.1f} MB")
    return 0
