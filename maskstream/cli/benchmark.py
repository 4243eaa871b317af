"""Run `maskstream benchmark`: time the program, its parts, and other programs with the same task, in turns on the same frames."""

import argparse
from pathlib import Path
from typing import Final

from maskstream.cli.parser import DEVICE_HELP, add_config_options, at_least, layers
from maskstream.cli.process import keep_freed_memory, start_log

COMPARED: Final = "paper, yolo, backends, classifiers"
SWEPT: Final = "batch, short_side, precision, faces, cameras, quiet, live, every"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the workloads, the number of rounds, and the output."""
    parser.add_argument("--source", metavar="FILE", required=True, help="video file")
    parser.add_argument("--frames", type=at_least(1), default=60, metavar="N", help="use its first N frames; default: 60")
    parser.add_argument("--rounds", type=at_least(1), default=5, metavar="N", help="rounds of each workload; default: 5")
    parser.add_argument("--starts", type=at_least(0), default=3, metavar="N", help="number of program starts to time; default: 3")
    parser.add_argument("--compare", action="append", default=[], metavar="WHAT", help=f"also time: {COMPARED}; may be repeated")
    parser.add_argument("--sweep", action="append", default=[], metavar="WHAT", help=f"vary: {SWEPT}; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements as JSON")
    parser.add_argument("--png", type=Path, metavar="FILE", help="write a chart of them as PNG")
    parser.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    add_config_options(parser)
    parser.add_argument("--quiet", action="store_true", help="show errors and the tables only")


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmark, print the tables, write the files."""
    from rich.console import Console

    from maskstream.config.loading import load_config

    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else "WARNING")
    config = load_config(arguments.config, layers(arguments))

    from maskstream.benchmark.benchmark_report import draw, print_tables, write_json
    from maskstream.benchmark.session import BenchmarkRequest, run_benchmark

    keep_freed_memory()
    request = BenchmarkRequest(
        source=arguments.source,
        frames=arguments.frames,
        rounds=arguments.rounds,
        comparisons=tuple(arguments.compare),
        starts=arguments.starts,
        sweeps=tuple(arguments.sweep),
    )
    with console.status("") as status:
        record, times = run_benchmark(request, config, status.update)
    print_tables(Console(), record)
    if arguments.json:
        write_json(arguments.json, record)
    if arguments.png:
        draw(arguments.png, times)
    return 0
