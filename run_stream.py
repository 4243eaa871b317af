#!/usr/bin/env python3
"""Watch webcams, video, pictures and cameras, and say, face by face, who wears a mask.

python run_stream.py --source clip.mp4 --output out.mp4 --jsonl faces.jsonl --csv faces.csv
"""

import argparse
import ctypes
import os
import re
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from setproctitle import setproctitle

if TYPE_CHECKING:
    from loguru import Record
    from rich.console import Console

    from maskstream.config import Layer
    from maskstream.stream.engine import Engine, RunReport

LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
USAGE_ERROR = 2
SOURCE_HELP = (
    "index of a webcam, video file, picture, folder or quoted glob of pictures, rtsp:// or http(s):// URL, "
    "or YAML list of cameras; may be repeated"
)
EVENTS_HELP = "a JSON record per event of a person without a mask, and per minute; a file is continued; - is standard output"
WINDOW_HELP = "a window, as webcams have one anyway: q or Esc quits, s saves a picture, space pauses a file"

# Numbers of mallopt(3) and what they are set to.
MALLOC_OPTIONS = {"M_MMAP_THRESHOLD": (-3, 2**30), "M_TRIM_THRESHOLD": (-1, 2**30), "M_ARENA_MAX": (-8, 1)}

# Options, here and in tools, that stand for a key of the configuration.
KEY_BY_OPTION = {
    "device": "device",
    "detector": "detector.name",
    "classifier": "classifier.weights",
    "min_score": "detector.min_score",
    "stride": "stream.stride",
    "max_frames": "stream.max_frames",
    "realtime": "stream.realtime",
    "max_reconnects": "network.max_reconnects",
    "segment": "video.segment_s",
    "recursive": "pictures.recursive",
    "mirror": "webcam.mirror",
    "iou": "evaluation.iou",
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{message}; see {self.prog} --help\n")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Watch cameras, video or pictures and say, face by face, who wears a mask.", allow_abbrev=False)
    sources = parser.add_argument_group("sources")
    sources.add_argument("--source", action="append", default=[], metavar="SRC", help=SOURCE_HELP)
    sources.add_argument("--recursive", action="store_true", default=None, help="a folder's own folders too")
    sources.add_argument("--mirror", action="store_true", default=None, help="turn webcams left to right, as a mirror does")
    config = parser.add_argument_group("configuration")
    config.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over configs/default.yaml")
    config.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")
    outputs = parser.add_argument_group("outputs")
    outputs.add_argument("--output", metavar="PATH", help="annotated MP4 or picture; a folder with several")
    outputs.add_argument("--jsonl", metavar="PATH", help="a JSON record per analysed frame; - is standard output")
    outputs.add_argument("--csv", metavar="PATH", help="a CSV row per face; - is standard output")
    outputs.add_argument("--status", metavar="PATH", help="a JSON record per change of a source's state; - is standard output")
    outputs.add_argument("--events", metavar="PATH", help=EVENTS_HELP)
    outputs.add_argument("--summary", metavar="PATH", help="what was seen as JSON, with a timeline as PNG beside it, and a table")
    outputs.add_argument(
        "--segment", type=seconds, metavar="TIME", help="a camera's recording goes on in another file after 90s, 10m, 2h"
    )
    outputs.add_argument("--show", action=argparse.BooleanOptionalAction, help=WINDOW_HELP)
    models = parser.add_argument_group("models")
    models.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    models.add_argument("--detector", metavar="NAME", help="face_mobilenet or coco_resnet50")
    models.add_argument("--classifier", metavar="FILE", help="weights of the classifier")
    models.add_argument("--min-score", type=float, metavar="P", help="leave out what the detector is less certain of, 0 to 1")
    flow = parser.add_argument_group("flow")
    flow.add_argument("--stride", type=int, metavar="N", help="analyse every Nth frame")
    flow.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames of each source")
    flow.add_argument("--max-reconnects", type=int, metavar="N", help="attempts in a row to open a lost camera; else for ever")
    flow.add_argument(
        "--realtime", action="store_true", default=None, help="play a file at its own speed, dropping like a camera"
    )
    parser.add_argument(
        "--log-level", type=str.upper, choices=LOG_LEVELS, default="INFO", metavar="LEVEL", help=", ".join(LOG_LEVELS)
    )
    parser.add_argument("--quiet", action="store_true", help="only errors, no progress bar")
    parser.add_argument("--version", action="store_true", help="print the version")
    return parser


def seconds(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `2h` or `90`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, minutes or hours as 90s, 10m, 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def hide_arguments() -> None:
    """Keep passwords in URLs out of the list of processes, before anything that takes time."""
    if any("@" in argument for argument in sys.argv):
        setproctitle("run_stream.py --source ***")


class Stopper:
    """Turns SIGINT and SIGTERM into a clean end; a second signal ends the program at once."""

    def __init__(self) -> None:
        self.received = 0
        self.engine: Engine | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        if self.engine is None or self.received:
            os._exit(128 + number)
        self.received = number
        self.engine.stop()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    stopper = Stopper()
    hide_arguments()
    from maskstream import __version__
    from maskstream.errors import MaskStreamError

    if arguments.version:
        print(f"maskstream {__version__}")
        return 0
    try:
        run(arguments, stopper)
        code = 128 + stopper.received if stopper.received else 0
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    return code


def run(arguments: argparse.Namespace, stopper: Stopper) -> None:
    from loguru import logger
    from rich.console import Console

    from maskstream.app import StreamRequest, build_engine
    from maskstream.config import load_config

    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else arguments.log_level)
    config = load_config(arguments.config, layers(arguments))
    request = StreamRequest(
        tuple(arguments.source),
        *(arguments.output, arguments.jsonl, arguments.csv, arguments.status, arguments.show),
        *(arguments.events, arguments.summary),
        console=None if arguments.quiet else console,
        progress=console if console.is_terminal and not arguments.quiet else None,
    )
    keep_freed_memory()
    stopper.engine = build_engine(request, config)
    logger.info("{}", summary(stopper.engine.run()))


def keep_freed_memory() -> None:
    """Let glibc keep the models' large buffers for the next frame: fresh pages cost about a fifth of the frame rate on a CPU."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option, value in MALLOC_OPTIONS.values():
            libc.mallopt(option, value)


def layers(arguments: argparse.Namespace) -> "list[Layer]":
    from maskstream.config import Layer

    given = {option: value for option, value in vars(arguments).items() if option in KEY_BY_OPTION and value is not None}
    return [
        *(Layer.of_assignment(assignment) for assignment in arguments.set),
        *(Layer.of_key(f"--{option.replace('_', '-')}", KEY_BY_OPTION[option], value) for option, value in given.items()),
    ]


def start_log(console: "Console", level: str) -> None:
    """Write the log through the console, so that it does not tear a progress bar."""
    from loguru import logger

    def line(record: "Record") -> str:
        return f"{record['time']:HH:mm:ss} {record['level'].name:<7} {{message}}\n{{exception}}"

    warnings.filterwarnings("ignore", module=r"PIL\.")  # on damaged metadata of pictures
    logger.remove()
    logger.add(lambda message: console.out(message, end="", highlight=False), level=level, format=line, backtrace=False)


def summary(report: "RunReport") -> str:
    fps = report.frames / report.elapsed_s if report.elapsed_s else 0.0
    model_share = report.model_s / report.elapsed_s if report.elapsed_s else 0.0
    dropped = f", {report.dropped} dropped" if report.dropped else ""
    return (
        f"{counted(report.frames, 'frame')}, {report.analysed} analysed{dropped}, {counted(report.faces, 'face')} "
        f"in {report.elapsed_s:.1f} s: "
        f"{fps:.1f} fps, {model_share:.0%} of the time in the models"
    )


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # all files are closed: taking torch apart would cost a second, and a thread left behind could hang it
