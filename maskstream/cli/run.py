"""`maskstream run`: watch sources, and write records, videos, events and a summary."""

import argparse
from typing import TYPE_CHECKING

from maskstream import __version__
from maskstream.cli.parser import DEFAULT_LISTEN, add_config_options, add_log_options, add_model_options, layers, seconds
from maskstream.cli.process import Stopper, keep_freed_memory, start_log

if TYPE_CHECKING:
    from maskstream.stream.report import RunReport

SOURCE_HELP = (
    "webcam (index or device), video file, image, folder or quoted pattern of videos and images, URL (rtsp, http, rtmp, srt, "
    "udp, rtp, tcp), SDP file, - (standard input), named pipe, or YAML list of cameras; may be repeated"
)
EVENTS_HELP = (
    "write a JSON record per event of a person without a mask, and per minute; continues an existing file; - is standard output"
)
OVERWRITE_HELP = "replace outputs that exist, or refuse to; default: replace outputs of files, continue records of cameras"
WEB_HELP = "serve the dashboard to browsers, at 127.0.0.1:8675 if no address is given; needs pip install 'maskstream[web]'"
WINDOW_HELP = "open a window; default: for webcams. q or Esc quits, s saves the frame as an image, space pauses a file"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the main job."""
    sources = parser.add_argument_group("sources")
    sources.add_argument("--source", action="append", default=[], metavar="SRC", help=SOURCE_HELP)
    sources.add_argument("--recursive", action="store_true", default=None, help="also read the folders of a folder")
    sources.add_argument("--mirror", action="store_true", default=None, help="mirror webcams left to right")
    add_config_options(parser.add_argument_group("configuration"))
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument(
        "--output", metavar="PATH", help="write an annotated video (.mp4, .mkv, .webm, .mov, .avi) or image; a folder for several"
    )
    outputs.add_argument("--jsonl", metavar="PATH", help="write a JSON record per analysed frame; - is standard output")
    outputs.add_argument("--csv", metavar="PATH", help="write a CSV row per face; - is standard output")
    outputs.add_argument(
        "--status", metavar="PATH", help="write a JSON record per change of a source's state; - is standard output"
    )
    outputs.add_argument("--events", metavar="PATH", help=EVENTS_HELP)
    outputs.add_argument(
        "--summary", metavar="PATH", help="write a summary of the run as JSON and a timeline as PNG beside it; print a table"
    )
    outputs.add_argument(
        "--segment", type=seconds, metavar="TIME", help="start a new recording of a camera after this time: 90s, 10m, 2h"
    )
    outputs.add_argument("--web", nargs="?", const=DEFAULT_LISTEN, metavar="HOST:PORT", help=WEB_HELP)
    outputs.add_argument("--overwrite", action=argparse.BooleanOptionalAction, help=OVERWRITE_HELP)
    outputs.add_argument("--show", action=argparse.BooleanOptionalAction, help=WINDOW_HELP)
    models = parser.add_argument_group("models")
    add_model_options(models)
    flow = parser.add_argument_group("flow")
    flow.add_argument("--stride", type=int, metavar="N", help="analyse every Nth frame")
    flow.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames of each source")
    flow.add_argument(
        "--max-reconnects", type=int, metavar="N", help="end a camera after N failed attempts in sequence; default: no limit"
    )
    flow.add_argument(
        "--realtime", action="store_true", default=None, help="play a file at its own speed, and drop frames as for a camera"
    )
    add_log_options(parser)
    parser.add_argument("--version", action="store_true", help="print the version and exit")


def run(arguments: argparse.Namespace) -> int:
    """Watch the sources until they end or a signal arrives, and return the exit code."""
    stopper = Stopper()
    if arguments.version:
        print(f"maskstream {__version__}")
        return 0
    watch(arguments, stopper)
    return 128 + stopper.received if stopper.received else 0


def watch(arguments: argparse.Namespace, stopper: Stopper) -> None:
    """Build an engine and run it, so that the stopper can stop it, and log what it did."""
    from loguru import logger
    from rich.console import Console

    from maskstream.config.loading import load_config

    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else arguments.log_level)
    command_line = layers(arguments)
    config = load_config(arguments.config, command_line)

    from maskstream.cli.build import build_engine  # a wrong configuration is refused before these imports
    from maskstream.cli.request import StreamRequest
    from maskstream.io.files import readable_by

    given = (arguments.config, config.detector.weights, config.classifier.weights)  # some may be names of models
    request = StreamRequest(
        sources=tuple(arguments.source),
        output=arguments.output,
        jsonl=arguments.jsonl,
        csv=arguments.csv,
        status=arguments.status,
        events=arguments.events,
        summary=arguments.summary,
        show=arguments.show,
        console=None if arguments.quiet else console,
        progress=console if console.is_terminal and not arguments.quiet else None,
        overwrite=arguments.overwrite,
        command_line=tuple(command_line),
        reads=tuple(str(file) for file in given if file is not None),
    )
    keep_freed_memory()
    with readable_by(config.privacy.readable_by):
        stopper.engine = engine = build_engine(request, config)
        logger.info("{}", summary(engine.run()))


def summary(report: "RunReport") -> str:
    """Return the metrics of a run as a log line."""
    fps = report.frames / report.elapsed_s if report.elapsed_s else 0.0
    model_share = report.model_s / report.elapsed_s if report.elapsed_s else 0.0
    dropped = f", {report.dropped} dropped" if report.dropped else ""
    unusable = f"; {counted(report.unusable, 'output')} of the models not finite" if report.unusable else ""
    return (
        f"{counted(report.frames, 'frame')}, {report.analysed} analysed{dropped}, {counted(report.faces, 'face')} "
        f"in {report.elapsed_s:.1f} s: "
        f"{fps:.1f} fps, {model_share:.0%} of the time in the models{unusable}"
    )


def counted(number: int, thing: str) -> str:
    """Return `1 face` or `3 faces`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
