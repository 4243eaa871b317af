#!/usr/bin/env python3
"""Measure how well faces are found and judged, on labelled pictures; docs/evaluation.md says what every figure means.

python tools/evaluate.py --images DIR --labels PATH --out DIR
python tools/evaluate.py --images DIR --labels PATH --out DIR --predictions FILE    # anyone's, without a model
python tools/evaluate.py --compare RUN RUN --out DIR                                # runs side by side
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from maskstream.config import load_config
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.evaluation.comparison import compare
from maskstream.evaluation.comparison_report import print_comparison, write_comparison
from maskstream.evaluation.outputs import read_run, replace_file
from maskstream.evaluation.summary import print_summary
from maskstream.files import make_folder
from maskstream.interrupts import insistent_interrupts
from maskstream.measure import EvaluationRequest, evaluate
from maskstream.settings import Config
from maskstream.sinks.paths import require_folder
from run_stream import LOG_LEVELS, Parser, keep_freed_memory, layers, start_log

COMPARED_IOUS = (0.3, 0.5)


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(description="Measure how well faces are found and judged, on labelled pictures.", allow_abbrev=False)
    data = parser.add_argument_group("labelled pictures")
    data.add_argument("--images", type=Path, metavar="DIR", help="folder of pictures")
    data.add_argument("--labels", type=Path, metavar="PATH", help="file or folder: VoTT, Pascal VOC, COCO, YOLO")
    data.add_argument("--format", choices=("voc", "vott", "coco", "yolo"), help="of the labels; told by their content otherwise")
    data.add_argument(
        "--box", choices=("face", "head"), default="face", help="what the labels go around: tight face or whole head"
    )
    data.add_argument("--unlabelled", choices=("skip", "negative"), default="skip", help="pictures without labels")
    data.add_argument("--strict", action="store_true", help="refuse broken labels and pictures instead of leaving them out")
    what = parser.add_argument_group("what is measured")
    what.add_argument("--system", choices=("maskstream", "yolo", "clip"), default="maskstream", help="default: maskstream")
    what.add_argument("--weights", metavar="FILE", help="of yolo or clip")
    what.add_argument("--predictions", type=Path, metavar="FILE", help="COCO results or our JSON lines, instead of a model")
    what.add_argument("--categories", metavar="ID=NAME,...", help="what the ids of COCO results mean: 1=mask,2=no_mask")
    what.add_argument("--predicted-box", choices=("face", "head"), help="what boxes of others go around; default: as the labels")
    what.add_argument("--compare", nargs="+", type=Path, metavar="RUN", help="show the results of runs side by side")
    how = parser.add_argument_group("how")
    how.add_argument("--min-score", type=float, metavar="P", help="operating threshold of the detector, 0 to 1")
    how.add_argument("--iou", type=float, metavar="IOU", help="reference overlap of breakdowns and curves, such as 0.3")
    how.add_argument("--group-by", metavar="REGEX", help="figures by what this finds in the pictures' names")
    how.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps")
    how.add_argument("--detector", metavar="NAME", help="face_mobilenet or coco_resnet50")
    how.add_argument("--classifier", metavar="FILE", help="weights of the classifier")
    how.add_argument("--config", type=Path, metavar="FILE", help="YAML laid over configs/default.yaml")
    how.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="one setting; may be repeated")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for report.html, metrics.json and the rest")
    parser.add_argument(
        "--log-level", type=str.upper, choices=LOG_LEVELS, default="INFO", metavar="LEVEL", help=", ".join(LOG_LEVELS)
    )
    parser.add_argument("--quiet", action="store_true", help="only errors, no progress bar")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    arguments = build_parser().parse_args(argv)
    console = Console(stderr=True)
    start_log(console, "ERROR" if arguments.quiet else arguments.log_level)
    try:
        config = load_config(arguments.config, layers(arguments))
        if arguments.out is not None:
            require_folder(str(arguments.out))
        if arguments.compare:
            run_comparison(arguments, config)
        else:
            keep_freed_memory()
            is_shown = console.is_terminal and not arguments.quiet
            request = request_of(arguments, console if is_shown else None)
            with insistent_interrupts():
                figures = evaluate(request, config)
            print_summary(figures, Console())
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def request_of(arguments: argparse.Namespace, progress: Console | None) -> EvaluationRequest:
    """Return what the options ask for; refuse what is missing or does not go together."""
    for option, advice in (("images", "the folder of pictures"), ("out", "a folder for the results")):
        if getattr(arguments, option) is None:
            raise ConfigError(f"--{option} is missing; give {advice}")
    if arguments.labels is None and arguments.unlabelled == "skip":
        raise ConfigError("--labels is missing; give the labels, or --unlabelled negative for pictures without people")
    if arguments.predictions is None and arguments.system == "yolo" and arguments.weights is None:
        raise ConfigError("--system yolo: --weights is missing; give the .pt file of a detector")
    if arguments.system == "maskstream" and arguments.weights is not None:
        raise ConfigError("--weights is for yolo and clip; ours are set by --set detector.weights=FILE and --classifier FILE")
    if (arguments.box, arguments.predicted_box) == ("face", "head"):
        raise ConfigError("--predicted-box head: heads cannot be turned into faces; give labels of heads and --box head")
    plain = ("images", "labels", "out", "format", "unlabelled", "strict", "box", "system", "weights", "predictions")
    return EvaluationRequest(
        **{option: getattr(arguments, option) for option in (*plain, "predicted_box", "min_score")},
        categories=categories(arguments.categories),
        group_by=compiled(arguments.group_by),
        progress=progress,
    )


def compiled(pattern: str | None) -> re.Pattern[str] | None:
    try:
        return None if pattern is None else re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"--group-by {pattern}: not a regular expression: {error}; such as '^[a-zA-Z]+'") from error


def categories(text: str | None) -> dict[int, str]:
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair]
    try:
        return {int(number): name for number, _, name in pairs}
    except ValueError as error:
        raise ConfigError(f"--categories {text}: expected ids and names, such as 1=mask,2=no_mask") from error


def run_comparison(arguments: argparse.Namespace, config: Config) -> None:
    if len(arguments.compare) < 2:
        raise ConfigError(f"--compare {arguments.compare[0]}: one run; give two or more folders that --out has written")
    runs = [read_run(folder) for folder in arguments.compare]
    comparison = compare(runs, sorted({*COMPARED_IOUS, config.evaluation.iou}), config.evaluation.bootstrap)
    if arguments.out is not None:
        make_folder(str(arguments.out))
        replace_file(arguments.out / "comparison.json", (json.dumps(comparison, indent=1, allow_nan=False) + "\n").encode())
        write_comparison(comparison, arguments.out / "comparison.html")
    print_comparison(comparison, Console())


if __name__ == "__main__":
    sys.exit(main())
