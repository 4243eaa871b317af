"""Run `maskstream measure-motion`: measure what the detector saves by resting while nothing moves, and what is found later."""

import argparse
import json
from contextlib import closing
from itertools import islice
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any, Final

from maskstream.cli.measure_people import print_table, watch
from maskstream.cli.parser import DEVICE_HELP, add_config_options, layers
from maskstream.cli.process import keep_freed_memory, start_log
from maskstream.errors import ConfigError
from maskstream.io.files import replace_file

if TYPE_CHECKING:
    from maskstream.config.schema import Config

_TIMED_FRAMES: Final = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for videos and output."""
    parser.add_argument("--source", action="append", default=[], metavar="FILE", help="video file; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all metrics to this file")
    parser.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    add_config_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Analyse each video as that of a camera, without and with rests; print a table; write the metrics."""
    if not arguments.source:
        raise ConfigError("no video file is given; give --source")
    from rich.console import Console

    from maskstream.config.loading import load_config

    start_log(Console(stderr=True), "WARNING")
    config = load_config(arguments.config, layers(arguments))
    if not config.tracking.enabled:
        raise ConfigError("tracking.enabled is false; measure-motion needs true")

    from maskstream.evaluation.motion_metrics import MotionMetrics, RememberingAnalyzer, compare
    from maskstream.inference.pipeline import build_analyzer

    keep_freed_memory()
    models = build_analyzer(config)
    metrics: dict[str, dict[str, Any]] = {}
    total = MotionMetrics()
    for path in arguments.source:
        analyzer = RememberingAnalyzer(models)
        runs, requests = [], []
        for motion in (False, True):
            analyzer.forget(path)
            runs.append(watch(path, analyzer, _with_motion(config, motion), 1))
            requests.append(len(analyzer.requested))
        found = compare(*runs)
        found.detections, found.detections_with_rests = requests
        total.add(found)
        times = {"change_cpu_ms": round(_change_cpu_ms(path, config), 2), "models_cpu_ms": round(analyzer.cpu_ms, 1)}
        metrics[path] = found.to_json() | times
    if len(metrics) > 1:
        metrics["all"] = total.to_json()
    print_table(metrics)
    if arguments.json is not None:
        replace_file(arguments.json, json.dumps(metrics, indent=1).encode())
    return 0


def _with_motion(config: "Config", motion: bool) -> "Config":
    detector = config.detector.model_copy(update={"motion": motion})
    return config.model_copy(update={"detector": detector})


def _change_cpu_ms(path: str, config: "Config") -> float:
    """Return the processor time of the change detector, in milliseconds per frame."""
    from maskstream.inference.motion import ChangeDetector
    from maskstream.sources import FileSource

    changes, seconds, frames = ChangeDetector(), 0.0, 0
    with closing(FileSource(path)) as source:
        for frame in islice(source, _TIMED_FRAMES):
            began_s = process_time()
            changes.update(frame.bgr, frame.time_s, config.detector.motion_threshold)
            seconds += process_time() - began_s
            frames += 1
    return 1000 * seconds / max(frames, 1)
