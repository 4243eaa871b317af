#!/usr/bin/env python3
"""Measure how steady and how right the answers about people are, and what is told of them.

python tools/measure_people.py --source clip.mp4 --labels tests/fixtures/masks_on_and_off.json --json people.json
"""

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.config import load_config
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.events import Happening
from maskstream.files import replace_file
from maskstream.following import following
from maskstream.people.analyzer import PeopleAnalyzer
from maskstream.people.book import EventBook
from maskstream.people.measures import PeopleLabels, measure
from maskstream.pipeline import batch_size_of, build_analyzer
from maskstream.protocols import FrameAnalyzer
from maskstream.settings import Config
from maskstream.sources import FileSource
from maskstream.types import FrameResult, Output
from run_stream import Parser, keep_freed_memory, layers, start_log


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Measure the answers about people in video files.", allow_abbrev=False)
    parser.add_argument("--source", action="append", required=True, metavar="FILE", help="video file; may be repeated")
    parser.add_argument("--labels", type=Path, metavar="FILE", help="of the first one, by hand: see tests/fixtures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    parser.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over configs/default.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")
    return parser


def watch(path: str, analyzer: FrameAnalyzer, config: Config) -> tuple[list[FrameResult], list[tuple[float, Happening]]]:
    """Return all results of a file, and what was told of it and when."""
    people, book = PeopleAnalyzer(following(analyzer, config.detector.every), config), EventBook(config)
    size = batch_size_of(config, config.detector.every)
    results: list[FrameResult] = []
    told: list[tuple[float, Happening]] = []
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
    table = Table("", *(Path(path).stem for path in records))
    for key in dict.fromkeys(key for record in records.values() for key in record):
        table.add_row(key, *(str(record.get(key, "")) for record in records.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    start_log(Console(stderr=True), "WARNING")
    try:
        config = load_config(arguments.config, layers(arguments))
        if not config.tracking.enabled:
            raise ConfigError("tracking.enabled: false, but people are to be measured; set it to true")
        labels = None if arguments.labels is None else PeopleLabels.read(arguments.labels)
        keep_freed_memory()
        analyzer = build_analyzer(config)
        records = {}
        for path in arguments.source:
            records[path] = measure(*watch(path, analyzer, config), labels if path == arguments.source[0] else None).record()
        print_table(records)
        if arguments.json is not None:
            replace_file(arguments.json, json.dumps(records, indent=1).encode())
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
