"""`maskstream check`: find what would stop or disturb a run, before it is started."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from maskstream.cli.parser import DEFAULT_LISTEN, add_config_options, layers

if TYPE_CHECKING:
    from maskstream.cli.checks import Finding

LIST_HELP = "YAML list of cameras; the same as --source"


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for the cameras, the settings and the output."""
    parser.add_argument("list", nargs="?", metavar="LIST", help=LIST_HELP)
    parser.add_argument(
        "--source", action="append", default=[], metavar="SRC", help="source as for maskstream run; may be repeated"
    )
    add_config_options(parser)
    parser.add_argument(
        "--web", nargs="?", const=DEFAULT_LISTEN, metavar="HOST:PORT", help="also check the dashboard, as for maskstream run"
    )
    parser.add_argument("--cameras", action="store_true", help="open each camera, for at most 5 s")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the findings, and return the exit code of the first error; 0 without one."""
    from loguru import logger

    from maskstream.io.files import one_line

    logger.remove()  # a finding tells the same
    exit_code = 0
    records: list[dict[str, object]] = []
    for finding in _findings(arguments):
        exit_code = exit_code or finding.exit_code
        if arguments.json:
            records.append({key: value for key, value in asdict(finding).items() if key != "exit_code"})
        else:
            print(one_line(f"{finding.level.value:<8} {finding.subject}: {finding.detail}"), flush=True)
    if arguments.json:
        print(json.dumps({"ok": exit_code == 0, "exit_code": exit_code, "findings": records}, indent=2))
    return exit_code


def _findings(arguments: argparse.Namespace) -> "Iterator[Finding]":
    from maskstream.cli.checks import Finding, check_site
    from maskstream.config.loading import load_config
    from maskstream.errors import MaskStreamError

    try:
        command_line = layers(arguments)
        config = load_config(arguments.config, command_line)
    except MaskStreamError as error:
        yield Finding.of("settings", error)
        return
    sources = [*([arguments.list] if arguments.list is not None else []), *arguments.source]
    yield from check_site(sources, config, command_line, probe=arguments.cameras)
