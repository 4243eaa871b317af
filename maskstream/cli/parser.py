"""Parse options: the parser, options of several subcommands, and the settings that options change."""

import argparse
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from maskstream.errors import ConfigError
from maskstream.io.resources import own_or_shipped
from maskstream.redaction import redact_text

if TYPE_CHECKING:
    from maskstream.config.loading import Layer

USAGE_ERROR: Final = 2
LOG_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEFAULT_LISTEN: Final = "127.0.0.1:8675"
DEVICE_HELP: Final = "device that runs the models: auto, cpu, cuda, cuda:1, mps"
MIN_SCORE_HELP: Final = "leave out faces with a lower score of the detector, 0 to 1"
DETECTOR_HELP: Final = "detector: face_mobilenet or coco_resnet50"
RAY_HELP: Final = "use the machines of a Ray cluster: auto, or HOST:PORT of its head; default: processes of this machine"
STRICT_HELP: Final = "refuse broken labels and images instead of leaving them out"
QUIET_HELP: Final = "log errors only, and show no progress bar"
FORMATS: Final = ("voc", "vott", "coco", "yolo")
FORMAT_HELP: Final = "format of the labels; default: detected from their content"
BOX_HELP: Final = "what the labelled boxes surround: the tight face (default) or the complete head"

KEY_BY_OPTION: Final = {
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
    "web": "web.listen",
    "store": "store.folder",
    "iou": "evaluation.iou",
}
"""Options of any subcommand that set a key of the configuration."""


class Parser(argparse.ArgumentParser):
    """Reports a usage error as one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with the code of a usage error."""
        self.exit(USAGE_ERROR, f"{redact_text(message)}; see {self.prog} --help\n")


Options = argparse.ArgumentParser | argparse._ArgumentGroup
"""A parser or a group of its options."""


def add_config_options(options: Options) -> None:
    """Add `--config` and `--set`, as `layers` and `load_config` take them."""
    options.add_argument(
        "--config", type=own_or_shipped, metavar="FILE", help="YAML file that overrides settings of configs/default.yaml"
    )
    options.add_argument(
        "--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override one setting; may be repeated"
    )


def add_model_options(options: Options, where: str = "") -> None:
    """Add the options that choose the models and their minimum score; `where` says on which machines the weights are."""
    options.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    options.add_argument("--detector", metavar="NAME", help=DETECTOR_HELP)
    options.add_argument("--classifier", metavar="FILE", help=f"file with the weights of the classifier{where}")
    options.add_argument("--min-score", type=float, metavar="P", help=MIN_SCORE_HELP)


def add_log_options(options: Options) -> None:
    """Add `--log-level` and `--quiet`."""
    options.add_argument(
        "--log-level",
        type=str.upper,
        choices=LOG_LEVELS,
        default="INFO",
        metavar="LEVEL",
        help=f"lowest level that is logged: {', '.join(LOG_LEVELS)}",
    )
    options.add_argument("--quiet", action="store_true", help=QUIET_HELP)


def at_least(minimum: int) -> Callable[[str], int]:
    """Return a converter of the text of an option to a whole number that refuses numbers below `minimum`."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed; give {minimum} or more")
        return number

    return convert


def seconds(text: str) -> float:
    """Return the seconds of a text such as `90s`, `10m`, `2h` or `90`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; give seconds, minutes or hours as 90s, 10m, 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def layers(arguments: argparse.Namespace) -> "list[Layer]":
    """Return the layers of `--set` and of the options in `KEY_BY_OPTION`, in this order."""
    from maskstream.config.loading import Layer

    given = {option: value for option, value in vars(arguments).items() if option in KEY_BY_OPTION and value is not None}
    return [
        *(Layer.of_assignment(assignment) for assignment in arguments.set),
        *(Layer.of_key(f"--{option.replace('_', '-')}", KEY_BY_OPTION[option], value) for option, value in given.items()),
    ]


def require_options(arguments: argparse.Namespace, *names: str) -> None:
    """Raise `ConfigError` if one of these options is missing."""
    for name in names:
        if getattr(arguments, name) is None:
            raise ConfigError(f"--{name.replace('_', '-')} is missing; see --help")
