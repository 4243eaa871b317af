"""Run `maskstream measure-people`: measure how stable and how right the labels and events of persons are."""

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
    """Add the options for videos, labels and output."""
    parser.add_argument("--source", action="append", default=[], metavar="FILE", help="video file; may be repeated")
    parser.add_argument(
        "--expect-none",
        action="append",
        default=[],
        metavar="FILE",
        help="video file in which nobody lacks a mask: each event is a false alarm; may be repeated",
    )
    parser.add_argument(
        "--alarms",
        type=Path,
        metavar="FILE",
        help="true alarms of the videos, by file name: each other event is a false alarm; example: tests/fixtures/alarms.json",
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="manual labels of the first video; example: tests/fixtures/masks_on_and_off.json",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all metrics to this file")
    parser.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    add_config_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Analyse the videos, print a table, write the metrics."""
    paths = [*arguments.source, *arguments.expect_none]
    if not paths:
        raise ConfigError("no video file is given; give --source or --expect-none")
    from rich.console import Console

    from maskstream.config.loading import load_config

    start_log(Console(stderr=True), "WARNING")
    config = load_config(arguments.config, layers(arguments))
    if not config.tracking.enabled:
        raise ConfigError("tracking.enabled is false; measure-people needs true")

    from maskstream.evaluation.alarms import ExpectedAlarms, compare_alarms, total_of
    from maskstream.evaluation.tracking_metrics import PeopleLabels, measure
    from maskstream.inference.pipeline import build_analyzer

    labels = None if arguments.labels is None else PeopleLabels.read(arguments.labels)
    expected = ExpectedAlarms.of(arguments.alarms, paths, arguments.expect_none)
    keep_freed_memory()
    analyzer = build_analyzer(config)
    metrics = {}
    alarms = {}
    for path in paths:
        results, published = watch(path, analyzer, config)
        metrics[path] = measure(results, published, labels if path == paths[0] else None).to_json()
        if path in expected:
            alarms[path] = compare_alarms(results, published, expected[path])
            metrics[path] |= alarms[path].to_json()
    if alarms:
        metrics["all"] = total_of(alarms.values()).to_json()
    print_table(metrics)
    if arguments.json is not None:
        replace_file(arguments.json, json.dumps(metrics, indent=1).encode())
    return 0


def watch(
    path: str, analyzer: "FrameAnalyzer", config: "Config", batch_size: int | None = None
) -> "tuple[list[FrameResult], list[tuple[float, EventOrCounts]]]":
    """Return all results of a video, and its events and counts with the time of their frames.

    Args:
        path: The video file.
        analyzer: The models.
        config: All settings.
        batch_size: Frames in a batch; None: as in a run.
    """
    from maskstream.events.detector import EventDetector
    from maskstream.inference.pipeline import batch_size_of
    from maskstream.inference.propagation import PropagatingAnalyzer
    from maskstream.sources import FileSource
    from maskstream.tracking.analyzer import PeopleAnalyzer
    from maskstream.types import Output

    people, events = PeopleAnalyzer(PropagatingAnalyzer(analyzer, config), config), EventDetector(config)
    size = batch_size or batch_size_of(config)
    results: list[FrameResult] = []
    published: list[tuple[float, EventOrCounts]] = []
    with closing(FileSource(path)) as source:
        frames = iter(source)
        while batch := list(islice(frames, size)):
            for frame, result in zip(batch, people.analyze(batch), strict=True):
                results.append(result)
                output = Output(frame, result, analysed=True, paint=lambda frame, _result: frame.bgr)
                published += [(frame.time_s, event_or_counts) for event_or_counts in events.detect(output)]
    return results, published


def print_table(metrics: dict[str, dict[str, Any]]) -> None:
    """Print the metrics, a column for each video."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(Path(path).stem for path in metrics))
    keys = dict.fromkeys(key for of_video in metrics.values() for key in of_video)
    for key in keys:
        table.add_row(key, *(str(of_video.get(key, "")) for of_video in metrics.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
