"""Options: the parser, those that several subcommands have, and what they mean for the configuration."""

import argparse
import re
from typing import TYPE_CHECKING, Final, NoReturn

from maskstream.errors import ConfigError
from maskstream.io.resources import own_or_shipped
from maskstream.redaction import redact_text

if TYPE_CHECKING:
    from maskstream.config.loading import Layer

USAGE_ERROR: Final = 2
LOG_LEVELS: Final = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
DEVICE_HELP: Final = "auto, cpu, cuda, cuda:1, mps"
DETECTOR_HELP: Final = "face_mobilenet or coco_resnet50"
STRICT_HELP: Final = "refuse broken labels and pictures instead of leaving them out"
QUIET_HELP: Final = "only errors, no progress bar"
FORMATS: Final = ("voc", "vott", "coco", "yolo")
FORMAT_HELP: Final = "of the labels; told by their content otherwise"
BOX_HELP: Final = "what the labels go around: tight face or whole head"

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
    "iou": "evaluation.iou",
}
"""Options of any subcommand that stand for a key of the configuration."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with the exit code of a usage mistake."""
        self.exit(USAGE_ERROR, f"{redact_text(message)}; see {self.prog} --help\n")


Options = argparse.ArgumentParser | argparse._ArgumentGroup
"""What options can be added to."""


def add_config_options(options: Options) -> None:
    """Add `--config` and `--set`, as `layers` and `load_config` take them."""
    options.add_argument("--config", type=own_or_shipped, metavar="FILE", help="YAML laid over configs/default.yaml")
    options.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")


def add_log_options(options: Options) -> None:
    """Add `--log-level` and `--quiet`."""
    options.add_argument(
        "--log-level", type=str.upper, choices=LOG_LEVELS, default="INFO", metavar="LEVEL", help=", ".join(LOG_LEVELS)
    )
    options.add_argument("--quiet", action="store_true", help=QUIET_HELP)


def seconds(text: str) -> float:
    """Return the seconds of `90s`, `10m`, `2h` or `90`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; give seconds, minutes or hours as 90s, 10m, 2h")
    return float(found[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]


def layers(arguments: argparse.Namespace) -> "list[Layer]":
    """Return what `--set` and the options of `KEY_BY_OPTION` lay over the configuration."""
    from maskstream.config.loading import Layer

    given = {option: value for option, value in vars(arguments).items() if option in KEY_BY_OPTION and value is not None}
    return [
        *(Layer.of_assignment(assignment) for assignment in arguments.set),
        *(Layer.of_key(f"--{option.replace('_', '-')}", KEY_BY_OPTION[option], value) for option, value in given.items()),
    ]


def require_options(arguments: argparse.Namespace, *names: str) -> None:
    """Refuse a command line on which one of these options is missing."""
    for name in names:
        if getattr(arguments, name) is None:
            raise ConfigError(f"--{name.replace('_', '-')} is missing; see --help")
