"""`maskstream archive`: analyse many video files with several workers, and merge the results."""

import argparse
from pathlib import Path

from maskstream.cli.parser import (
    RAY_HELP,
    add_config_options,
    add_log_options,
    add_model_options,
    at_least,
    layers,
    require_options,
)
from maskstream.cli.process import Stopper, start_log
from maskstream.errors import ConfigError

INPUT_HELP = (
    "video file, folder, quoted pattern of videos, or YAML list of them with settings of their own, as a list of cameras; may "
    "be repeated"
)
OUTPUT_HELP = "folder of the results; the same command goes on where it was stopped"
WORKERS_HELP = "number of workers; default: one for each core, with --gpus-per-worker as many as fit on the GPUs"
GPUS_HELP = "part of a GPU for each worker, such as 0.25; with --ray it is reserved"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the files, the outputs and the workers."""
    files = parser.add_argument_group("files")
    files.add_argument("--input", action="append", metavar="PATH", help=INPUT_HELP)
    files.add_argument("--recursive", action="store_true", default=None, help="also read the folders of a folder")
    files.add_argument("--output", type=Path, metavar="DIR", help=OUTPUT_HELP)
    files.add_argument("--videos", action="store_true", help="also write an annotated video of each file")
    files.add_argument(
        "--retry-failed", action="store_true", help="also try files again that could not be read, or ended their worker"
    )
    workers = parser.add_argument_group("workers")
    workers.add_argument("--workers", type=at_least(1), metavar="N", help=WORKERS_HELP)
    workers.add_argument("--ray", metavar="ADDRESS", help=RAY_HELP)
    workers.add_argument("--gpus-per-worker", type=float, default=0.0, metavar="F", help=GPUS_HELP)
    add_config_options(parser.add_argument_group("configuration"))
    models = parser.add_argument_group("models")
    add_model_options(models, ", on each machine")
    models.add_argument("--stride", type=int, metavar="N", help="analyse every Nth frame")
    models.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames of each file")
    add_log_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Analyse the files that have no result yet, and return the exit code: 3 where a file has none."""
    stopper = Stopper()
    require_options(arguments, "input", "output")
    if arguments.gpus_per_worker < 0:
        raise ConfigError(f"--gpus-per-worker {arguments.gpus_per_worker:g}: not allowed; give 0 or more")
    from rich.console import Console

    from maskstream.config.loading import load_config

    console = Console(stderr=True)
    level = "ERROR" if arguments.quiet else arguments.log_level
    start_log(console, level)
    command_line = layers(arguments)
    config = load_config(arguments.config, command_line)

    from maskstream.cli.archive_run import ArchiveRequest, analyse_archive  # a wrong configuration is refused before

    request = ArchiveRequest(
        inputs=tuple(arguments.input),
        output=Path(arguments.output).absolute(),
        command_line=tuple(command_line),
        workers=arguments.workers,
        ray=arguments.ray,
        gpus_per_worker=arguments.gpus_per_worker,
        videos=arguments.videos,
        retry_failed=arguments.retry_failed,
        log_level=level,
        console=None if arguments.quiet else console,
    )
    return analyse_archive(request, config, stopper)
