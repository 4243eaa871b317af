"""Run `maskstream gpu-check`: check that a GPU gives the results of the CPU, and time it."""

import argparse
import sys
from pathlib import Path
from typing import Final

from maskstream.benchmark.gpu_check import BUDGET_S, GpuCheckRequest, is_foreign, missing, run_gpu_check, tables

_CHECK_FAILED: Final = 1
_MODELS_MISSING: Final = 4


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the device, the images, the sections and the output."""
    parser.add_argument("--device", default="cuda", metavar="NAME", help="device to check: cuda (default), cuda:1, mps, cpu")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of images to compare besides frames of the demo clip")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results as JSON, after each step")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_S,
        metavar="SECONDS",
        help=f"start no section after this time; default: {BUDGET_S:g}",
    )
    parser.add_argument("--section", action="append", default=[], metavar="NAME", help="run only this section; may be repeated")
    parser.add_argument("--quick", action="store_true", help="use few and small images: only check that it runs")


def run(arguments: argparse.Namespace) -> int:
    """Run the checks and print the tables; return 0 if all checks passed, 1 if one failed, 4 if no model can run."""
    request = GpuCheckRequest(
        device=arguments.device,
        images=arguments.images,
        json=arguments.json,
        budget_s=arguments.budget,
        quick=arguments.quick,
        sections=tuple(arguments.section),
    )
    try:
        from loguru import logger

        logger.remove()
        logger.add(lambda message: print(message, end="", file=sys.stderr), level="WARNING", format="{message}")
        record = run_gpu_check(request, lambda what: print(what, file=sys.stderr, flush=True))
    except ImportError as error:
        if not is_foreign(error):
            raise
        print(f"{missing(error)}; the models need it", file=sys.stderr)
        return _MODELS_MISSING
    print(tables(record))
    return 0 if record["passed"] else _CHECK_FAILED
