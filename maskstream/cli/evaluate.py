"""Run `maskstream evaluate`: measure on labelled images how well faces are found and classified; see docs/evaluation.md."""

import argparse
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maskstream.cli.interrupts import insistent_interrupts
from maskstream.cli.parser import (
    BOX_HELP,
    DETECTOR_HELP,
    DEVICE_HELP,
    FORMAT_HELP,
    FORMATS,
    STRICT_HELP,
    add_config_options,
    add_log_options,
    at_least,
    layers,
)
from maskstream.cli.process import keep_freed_memory, start_log
from maskstream.errors import ConfigError
from maskstream.io.resources import own_or_shipped

if TYPE_CHECKING:
    from rich.console import Console

    from maskstream.config.schema import Config
    from maskstream.evaluation.request import EvaluationRequest
    from maskstream.evaluation.sets_run import SetRequest

    Evaluation = Callable[[], Callable[[Console], None]]
    """Runs an evaluation; returns a function that prints its summary."""

COMPARED_IOUS: Final = (0.3, 0.5)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the images, the predictions, the metrics and the output."""
    data = parser.add_argument_group("labelled images")
    data.add_argument("--images", type=Path, metavar="DIR", help="folder of images")
    data.add_argument("--labels", type=Path, metavar="PATH", help="file or folder of labels: VoTT, Pascal VOC, COCO, YOLO")
    data.add_argument("--format", choices=FORMATS, help=FORMAT_HELP)
    data.add_argument("--box", choices=("face", "head"), default="face", help=BOX_HELP)
    data.add_argument(
        "--unlabelled",
        choices=("skip", "negative"),
        default="skip",
        help="images without a label file: leave them out, or count them as images without faces; default: skip",
    )
    data.add_argument("--strict", action="store_true", help=STRICT_HELP)
    data.add_argument(
        "--sets",
        type=own_or_shipped,
        metavar="FILE",
        help="YAML list of sets of labelled images, in place of the options above; one report for all; "
        "see configs/evaluation_sets.example.yaml",
    )
    what = parser.add_argument_group("predictions")
    what.add_argument(
        "--system",
        choices=("maskstream", "yolo", "clip"),
        default="maskstream",
        help="system that is measured; default: maskstream",
    )
    what.add_argument("--weights", metavar="FILE", help="weights of yolo or clip")
    what.add_argument(
        "--predictions",
        type=Path,
        metavar="FILE",
        help="measure these predictions instead of a model: COCO results or records of run --jsonl; "
        "with --sets: the --out folder of an earlier run",
    )
    what.add_argument("--categories", metavar="ID=NAME,...", help="names of the category ids of COCO results: 1=mask,2=no_mask")
    what.add_argument("--predicted-box", choices=("face", "head"), help="what the predicted boxes surround; default: as --box")
    what.add_argument("--compare", nargs="+", type=Path, metavar="RUN", help="compare the results of these --out folders")
    how = parser.add_argument_group("settings")
    how.add_argument("--min-score", type=float, metavar="P", help="minimum score of a prediction, 0 to 1")
    how.add_argument("--iou", type=float, metavar="IOU", help="reference IoU of breakdowns and curves, such as 0.3")
    how.add_argument(
        "--group-by", metavar="REGEX", help="metrics per group: what this pattern matches in the names of the images"
    )
    how.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    how.add_argument("--detector", metavar="NAME", help=DETECTOR_HELP)
    how.add_argument("--classifier", metavar="FILE", help="file with the weights of the classifier")
    add_config_options(how)
    how.add_argument(
        "--contact-sheets",
        type=at_least(1),
        default=20,
        metavar="N",
        help="maximum number of errors on a contact sheet, the worst first; default: 20",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for report.html, metrics.json and the other files")
    add_log_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate or compare runs, print the summary, write the report."""
    from rich.console import Console

    from maskstream.config.loading import load_config
    from maskstream.io.output_paths import require_folder

    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else arguments.log_level)
    config = load_config(arguments.config, layers(arguments))
    if arguments.out is not None:
        require_folder(str(arguments.out))
    if arguments.compare:
        run_comparison(arguments, config)
        return 0
    progress = console if console.is_terminal and not arguments.quiet else None
    evaluation = _sets_evaluation(arguments, progress) if arguments.sets else _evaluation(arguments, config, progress)

    from maskstream.io.files import readable_by

    keep_freed_memory()
    try:
        with insistent_interrupts(), readable_by(config.privacy.readable_by):
            show = evaluation()
    except KeyboardInterrupt:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 130
    show(Console())
    return 0


def _evaluation(arguments: argparse.Namespace, config: "Config", progress: "Console | None") -> "Evaluation":
    """Return the evaluation of one set of images."""
    request = request_of(arguments, progress)

    from maskstream.evaluation.run import evaluate
    from maskstream.evaluation.terminal_summary import print_summary

    return lambda: partial(print_summary, evaluate(request, config))


def _sets_evaluation(arguments: argparse.Namespace, progress: "Console | None") -> "Evaluation":
    """Return the evaluation of the sets of `--sets`."""
    sets = set_requests(arguments, progress)

    from maskstream.evaluation.sets_report import print_sets
    from maskstream.evaluation.sets_run import evaluate_sets, with_predictions

    if arguments.predictions is not None:
        sets = with_predictions(sets, arguments.predictions)
    return lambda: partial(print_sets, evaluate_sets(sets, arguments.out))


def set_requests(arguments: argparse.Namespace, progress: "Console | None") -> "list[SetRequest]":
    """Return the request of each set of `--sets`; refuse missing and contradictory options."""
    from maskstream.config.loading import Layer, load_config
    from maskstream.evaluation.sets import read_sets
    from maskstream.evaluation.sets_run import SetRequest

    for option in ("images", "labels", "format", "group_by"):
        if getattr(arguments, option) is not None:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} is not allowed with --sets; give {option} for each set in {arguments.sets}")
    if (arguments.box, arguments.unlabelled) != ("face", "skip"):
        raise ConfigError(f"--box and --unlabelled are not allowed with --sets; give them for each set in {arguments.sets}")
    requests = []
    for each in read_sets(arguments.sets):
        own = vars(arguments) | {
            name: getattr(each, name) for name in ("images", "labels", "format", "box", "unlabelled", "group_by")
        }
        own["out"] = None if arguments.out is None else arguments.out / each.name
        own_layers = [] if each.iou is None else [Layer.of_key(each.origin, "evaluation.iou", each.iou)]
        config = load_config(arguments.config, [*own_layers, *layers(arguments)])
        requests.append(SetRequest(each.name, request_of(argparse.Namespace(**own), progress), config))
    return requests


def request_of(arguments: argparse.Namespace, progress: "Console | None") -> "EvaluationRequest":
    """Return the request of the options; refuse missing and contradictory options."""
    from maskstream.evaluation.request import EvaluationRequest

    _require_complete(arguments)
    return EvaluationRequest(
        images=arguments.images,
        labels=arguments.labels,
        out=arguments.out,
        format=arguments.format,
        unlabelled=arguments.unlabelled,
        strict=arguments.strict,
        box=arguments.box,
        system=arguments.system,
        weights=arguments.weights,
        predictions=arguments.predictions,
        categories=categories(arguments.categories),
        predicted_box=arguments.predicted_box,
        min_score=arguments.min_score,
        group_by=compiled(arguments.group_by),
        contact_sheets=arguments.contact_sheets,
        progress=progress,
    )


def _require_complete(arguments: argparse.Namespace) -> None:
    if arguments.images is None:
        raise ConfigError("--images is missing; give the folder of images")
    if arguments.out is None:
        raise ConfigError("--out is missing; give a folder for the results")
    if arguments.labels is None and arguments.unlabelled == "skip":
        raise ConfigError("--labels is missing; give the labels, or --unlabelled negative for images without people")
    if arguments.predictions is None and arguments.system == "yolo" and arguments.weights is None:
        raise ConfigError("--system yolo: --weights is missing; give the .pt file of a detector")
    if arguments.system == "maskstream" and arguments.weights is not None:
        raise ConfigError("--weights is for yolo and clip; our models have --set detector.weights=FILE and --classifier FILE")
    if (arguments.box, arguments.predicted_box) == ("face", "head"):
        raise ConfigError("--predicted-box head: heads cannot be turned into faces; give labels of heads and --box head")


def compiled(pattern: str | None) -> re.Pattern[str] | None:
    """Return the pattern of `--group-by`, compiled."""
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group-by {pattern}: not a regular expression: {error}; such as '^[a-zA-Z]+'") from error


def categories(text: str | None) -> dict[int, str]:
    """Return the names of `--categories` by id."""
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair]
    try:
        return {int(number): name for number, _, name in pairs}
    except ValueError as error:
        raise ConfigError(f"--categories {text}: expected ids and names, such as 1=mask,2=no_mask") from error


def run_comparison(arguments: argparse.Namespace, config: "Config") -> None:
    """Print the comparison of runs, and write it into the folder of `--out`."""
    from rich.console import Console

    from maskstream.evaluation.comparison import compare
    from maskstream.evaluation.comparison_report import print_comparison, write_comparison
    from maskstream.evaluation.outputs import read_run, to_bytes
    from maskstream.io.files import make_folder, replace_file

    if len(arguments.compare) < 2:
        raise ConfigError(f"--compare {arguments.compare[0]}: one run; give two or more --out folders of runs")
    runs = [read_run(folder) for folder in arguments.compare]
    comparison = compare(runs, sorted({*COMPARED_IOUS, config.evaluation.iou}), config.evaluation.bootstrap)
    if arguments.out is not None:
        make_folder(str(arguments.out))
        replace_file(arguments.out / "comparison.json", to_bytes(comparison.to_json()))
        write_comparison(comparison, arguments.out / "comparison.html")
    print_comparison(comparison, Console())
