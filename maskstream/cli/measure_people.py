"""`maskstream measure-people`: measure how steady and how right the answers about people are, and what is told of them."""

import argparse
import json
import sys
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskstream.cli.parser import DEVICE_HELP, add_config_options, layers
from maskstream.cli.process import keep_freed_memory, start_log
from maskstream.errors import ConfigError
from maskstream.io.files import replace_file

if TYPE_CHECKING:
    from maskstream.config.schema import Config
    from maskstream.events.types import EventOrCounts
    from maskstream.protocols import FrameAnalyzer
    from maskstream.types import FrameResult


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add which files are watched, and what is known of them."""
    parser.add_argument("--source", action="append", required=True, metavar="FILE", help="video file; may be repeated")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="manual labels of the first file: see tests/fixtures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements as JSON")
    parser.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    add_config_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Watch the files, print a table, write the figures."""
    from rich.console import Console

    from maskstream.config.loading import load_config

    start_log(Console(stderr=True), "WARNING")
    config = load_config(arguments.config, layers(arguments))
    if not config.tracking.enabled:
        raise ConfigError("tracking.enabled: false, but people are to be measured; set it to true")

    from maskstream.evaluation.tracking_metrics import PeopleLabels, measure
    from maskstream.inference.pipeline import build_analyzer

    labels = None if arguments.labels is None else PeopleLabels.read(arguments.labels)
    keep_freed_memory()
    analyzer = build_analyzer(config)
    records = {}
    for path in arguments.source:
        records[path] = measure(*watch(path, analyzer, config), labels if path == arguments.source[0] else None).record()
    print_table(records)
    if arguments.json is not None:
        replace_file(arguments.json, json.dumps(records, indent=1).encode())
    return 0


def watch(
    path: str, analyzer: "FrameAnalyzer", config: "Config"
) -> "tuple[list[FrameResult], list[tuple[float, EventOrCounts]]]":
    """Return all results of a file, and what was told of it and when."""
    from maskstream.events.detector import EventDetector
    from maskstream.inference.pipeline import batch_size_of
    from maskstream.inference.propagation import PropagatingAnalyzer
    from maskstream.sources import FileSource
    from maskstream.tracking.analyzer import PeopleAnalyzer
    from maskstream.types import Output

    people, book = PeopleAnalyzer(PropagatingAnalyzer(analyzer, config), config), EventDetector(config)
    size = batch_size_of(config)
    results: list[FrameResult] = []
    told: list[tuple[float, EventOrCounts]] = []
    with closing(FileSource(path)) as source:
        frames = iter(source)
        while batch := list(islice(frames, size)):
            for frame, result in zip(batch, people.analyze(batch), strict=True):
                results.append(result)
                output = Output(frame, result, analysed=True, paint=lambda frame, _result: frame.bgr)
                told += [(frame.time_s, happening) for happening in book.look(output)]
    return results, told


def print_table(records: dict[str, dict[str, Any]]) -> None:
    """Print the figures, a column for each file."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(Path(path).stem for path in records))
    for key in dict.fromkeys(key for record in records.values() for key in record):
        table.add_row(key, *(str(record.get(key, "")) for record in records.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
