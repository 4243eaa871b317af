"""Print a script with which a shell completes subcommands, options and file names (`maskstream completion`)."""

import argparse
from typing import Final

FILES: Final = ("FILE", "PATH", "SRC")
FOLDERS: Final = ("DIR", "RUN")
SHELLS: Final = ("bash", "zsh", "fish")
USE: Final = """\
bash: maskstream completion bash > ~/.local/share/bash-completion/completions/maskstream
zsh:  maskstream completion zsh > _maskstream, in a folder of $fpath
fish: maskstream completion fish > ~/.config/fish/completions/maskstream.fish"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the argument SHELL."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = USE
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=f"shell: {', '.join(SHELLS)}")


def run(arguments: argparse.Namespace) -> int:
    """Print the script of a shell."""
    print(script(arguments.shell))
    return 0


def script(shell: str) -> str:
    """Return the completion script of a shell for `maskstream`."""
    import shtab

    from maskstream.cli.main import COMMANDS, build_parser

    parser = build_parser(filled=COMMANDS)
    commands = [each for action in parser._actions if isinstance(action.choices, dict) for each in action.choices.values()]
    for option in (option for command in commands for option in command._actions):
        if option.metavar in FILES:
            option.complete = shtab.FILE
        elif option.metavar in FOLDERS:
            option.complete = shtab.DIRECTORY
    return str(shtab.complete(parser, shell))
