"""The command `maskstream`: which subcommands there are, and how each of them is called and ends."""

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
DESCRIPTION: Final = "Watches webcams, cameras, video and pictures and says, face by face, who wears a mask."

COMMANDS: Final = {
    "run": "watch cameras, video or pictures and say, face by face, who wears a mask",
    "evaluate": "measure how well faces are found and judged, on labelled pictures",
    "train-detector": "train a detector of faces with eyes and nose",
    "train-classifier": "train a classifier of face crops",
    "make-crops": "cut labelled faces out of pictures, upright as the stream cuts them",
    "find-unlabelled": "mark faces that nobody labelled as neither right nor wrong",
    "export": "export a model to ONNX or to OpenVINO's format, with its metadata inside",
    "benchmark": "time the program, its parts, and others that do the same work",
    "gpu-check": "check that a GPU gives the answers of the CPU, and time it",
    "measure-people": "measure the answers about people in video files",
    "fault-drill": "let cameras, networks, disks and models fail, and see whether every promise is kept",
    "completion": "print what makes a shell complete subcommands and options",
}
"""Each subcommand is a module of this folder, its name with underscores; it is imported where it is called."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `maskstream` with these arguments, by default those of the process; return the exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in COMMANDS:
        return run_command(given[0], given[1:], f"{NAME} {given[0]}")
    return _answer(lambda: _explain(given))


def _explain(given: Sequence[str]) -> NoReturn:
    """Answer --version and --help, and refuse all else."""
    build_parser().parse_args(given)
    raise AssertionError(f"{given}: neither a subcommand nor refused")


def _answer(act: Callable[[], int]) -> int:
    """Do what was asked for; say what is wrong in one line, and return the exit code."""
    mend_streams()
    try:
        try:
            return act()
        finally:
            sys.stdout.flush()  # what is wrong with it is said now, not by the interpreter at its end
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
        program: What was called, for messages: `maskstream run`, or a script that stands for it.

    Returns:
        The exit code, also of any `MaskStreamError`, which is said in one line.
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
    """Return what a shell would have to be told to call a subcommand in this way again, apart from passwords."""
    shown = map(redact_text, given)
    return shlex.join([*(("python",) if program.endswith(".py") else ()), *program.split(), *shown])


def command_module(name: str) -> ModuleType:
    """Return the module of a subcommand, which has `add_options(parser)` and `run(arguments) -> int`."""
    return import_module(f"{__package__}.{name.replace('-', '_')}")


def description(name: str) -> str:
    """Return what a subcommand does, as a sentence."""
    return f"{COMMANDS[name][:1].upper()}{COMMANDS[name][1:]}."


def build_parser(filled: Collection[str] = ()) -> argparse.ArgumentParser:
    """Return the parser of the whole command.

    Args:
        filled: Subcommands that get their options; the others have only a name and a line of help.
    """
    wide = partial(argparse.HelpFormatter, max_help_position=28)
    parser = Parser(prog=NAME, description=DESCRIPTION, allow_abbrev=False, formatter_class=wide)
    parser.add_argument("--version", action="version", version=f"{NAME} {__version__}", help="print the version")
    commands = parser.add_subparsers(title="subcommands", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=description(name), allow_abbrev=False)
        if name in filled:
            command_module(name).add_options(command)
    return parser


def program() -> int:
    """Be the command that an installation offers; return the exit code."""
    code = main()
    if sys.argv[1] == "run":
        leave(code)
    return code


def leave(code: int) -> NoReturn:
    """End the process at once: all files are closed.

    Taking torch apart would cost a second, and a thread left behind could hang it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
