"""Define the command `maskstream`: its subcommands, how they are called, and their exit codes."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Final, NoReturn

from maskstream import __version__
from maskstream.cli.parser import Parser
from maskstream.cli.process import hide_arguments, mend_streams, redact_tracebacks
from maskstream.errors import MaskStreamError, SinkClosed
from maskstream.redaction import redact_text

NAME: Final = "maskstream"
DESCRIPTION: Final = "Watches webcams, cameras, video and images and reports for each face whether it wears a mask."

COMMANDS: Final = {
    "run": "watch cameras, video or images and report for each face whether it wears a mask",
    "archive": "analyse many video files with several workers, and merge the results",
    "dashboard": "show the events of a store in browsers, without cameras",
    "check": "find what would stop or disturb a run, before it is started",
    "health": "ask a dashboard whether its run is alive and ready",
    "evaluate": "measure on labelled images how well faces are found and classified",
    "train-detector": "train a detector of faces with their eyes and nose",
    "slim-detector": "make a narrower detector of a trained one, to train it with the wider one as teacher",
    "train-classifier": "train a classifier of face crops",
    "make-crops": "cut labelled faces out of images, upright as in the stream",
    "find-unlabelled": "mark detected faces without a label, so that a training ignores them",
    "export": "export a model to ONNX or OpenVINO, with its metadata",
    "benchmark": "time the program, its parts, and other programs that do the same work",
    "gpu-check": "check that a GPU gives the same answers as the CPU, and time it",
    "measure-people": "measure tracking, steady labels and events on video files",
    "measure-motion": "measure what the detector saves by resting while nothing moves in video files",
    "fault-drill": "make cameras, networks, disks and models fail, and check every promise",
    "fleet": "watch the cameras of a site with several machines, and place them anew when one is lost",
    "user": "add, list, change and remove the users of the dashboard",
    "token": "add, list and remove the tokens with which programs use the API of the dashboard",
    "completion": "print a script with which a shell completes subcommands and options",
}
"""Each subcommand is a module of this folder, its name with underscores, and is imported only if it is called."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `maskstream` with these arguments, by default those of the process, and return the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in COMMANDS:
        return run_command(given[0], given[1:], f"{NAME} {given[0]}")

    def explain() -> NoReturn:
        build_parser().parse_args(given)  # handles --version and --help, and refuses anything else
        raise AssertionError(f"{given}: neither run nor refused")

    return _answer(explain)


def _answer(act: Callable[[], int]) -> int:
    """Call a function, print a `MaskStreamError` as one line, and return the exit code."""
    mend_streams()
    try:
        try:
            return act()
        finally:
            sys.stdout.flush()  # an error of stdout is reported here, not by the interpreter at its end
    except SinkClosed as closed:
        return closed.exit_code
    except MaskStreamError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def run_command(name: str, argv: Sequence[str] | None, program: str) -> int:
    """Run a subcommand.

    Args:
        name: One of `COMMANDS`.
        argv: Its options; None: those of the process.
        program: The name in messages: `maskstream run`, or the script that was called.

    Returns:
        The exit code. A `MaskStreamError` is printed as one line and has its own.
    """
    hide_arguments(program)
    redact_tracebacks()
    given = sys.argv[1:] if argv is None else list(argv)
    return _answer(lambda: _run(name, given, program))


def _run(name: str, given: list[str], program: str) -> int:
    module = command_module(name)
    parser = Parser(prog=program, description=description(name), allow_abbrev=False)
    module.add_options(parser)
    arguments = parser.parse_args(given)
    arguments.given = given
    arguments.command_line = command_line(program, given)
    code: int = module.run(arguments)
    return code


def command_line(program: str, given: Sequence[str]) -> str:
    """Return the shell command that calls a subcommand with these arguments, without passwords."""
    shown = map(redact_text, given)
    return shlex.join([*(("python",) if program.endswith(".py") else ()), *program.split(), *shown])


def command_module(name: str) -> ModuleType:
    """Return the module of a subcommand; it has `add_options(parser)` and `run(arguments) -> int`."""
    return import_module(f"{__package__}.{name.replace('-', '_')}")


def description(name: str) -> str:
    """Return the description of a subcommand as a sentence."""
    return f"{COMMANDS[name][:1].upper()}{COMMANDS[name][1:]}."


def build_parser(filled: Collection[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the complete command.

    Args:
        filled: Subcommands that get their options. The others have only a name and a line of help.
    """
    wide = partial(argparse.HelpFormatter, max_help_position=28)
    parser = Parser(prog=NAME, description=DESCRIPTION, allow_abbrev=False, formatter_class=wide)
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}", help="print the version and exit")
    commands = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=description(name), allow_abbrev=False)
        if name in filled:
            command_module(name).add_options(command)
    return parser


def program() -> int:
    """Run the installed command `maskstream`, and return its exit code."""
    code = main()
    if sys.argv[1] in ("run", "archive"):
        leave(code)
    return code


def leave(code: int) -> NoReturn:
    """End the process immediately, after all files are closed.

    The destructors of PyTorch cost a second, and a thread that still runs can block them, as can a cluster that does not answer.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
