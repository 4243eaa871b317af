#!/usr/bin/env python3
"""Time the program, its parts, and others that do the same work, in turns on the same frames.

python tools/benchmark.py --source clip.mp4
python tools/benchmark.py --source clip.mp4 --compare backends --compare paper --json speed.json --png speed.png
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.benchmark.report import draw, print_tables, write_json
from maskstream.benchmark.session import COMPARISONS, BenchmarkRequest, run_benchmark
from maskstream.benchmark.sweeps import SWEEPS
from maskstream.config import load_config
from maskstream.errors import ConfigError, MaskStreamError
from run_stream import Parser, keep_freed_memory, layers, start_log


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Time the program, its parts, and others that do the same work.", allow_abbrev=False)
    parser.add_argument("--source", metavar="FILE", required=True, help="a video file")
    parser.add_argument("--frames", type=int, default=60, metavar="N", help="its first N frames; 60")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each contestant; 5")
    parser.add_argument("--starts", type=int, default=3, metavar="N", help="how often the program is started from nothing; 3")
    parser.add_argument(
        "--compare", action="append", default=[], metavar="WHAT", help=f"{', '.join(COMPARISONS)}; may be repeated"
    )
    parser.add_argument("--sweep", action="append", default=[], metavar="WHAT", help=f"{', '.join(SWEEPS)}; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--png", type=Path, metavar="FILE", help="a picture of them")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over configs/default.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")
    parser.add_argument("--quiet", action="store_true", help="only errors and the tables")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else "WARNING")
    try:
        for name in ("frames", "rounds"):
            if getattr(arguments, name) < 1:
                raise ConfigError(f"--{name}: {getattr(arguments, name)} is not allowed; give 1 or more")
        keep_freed_memory()
        config = load_config(arguments.config, layers(arguments))
        request = BenchmarkRequest(
            *(arguments.source, arguments.frames, arguments.rounds, tuple(arguments.compare), arguments.starts),
            tuple(arguments.sweep),
        )
        with console.status("") as status:
            record, times = run_benchmark(request, config, status.update)
        print_tables(Console(), record)
        if arguments.json:
            write_json(arguments.json, record)
        if arguments.png:
            draw(arguments.png, times)
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
