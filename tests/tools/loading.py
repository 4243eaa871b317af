"""Tools as modules: they are scripts, and lie in no package."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

Main = Callable[[Sequence[str]], int]


def main_of(tool: str) -> Main:
    spec = importlib.util.spec_from_file_location(tool, ROOT / "tools" / f"{tool}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    main: Main = module.main
    return main


@dataclass(frozen=True)
class Result:
    """What a tool said and returned."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


def runner(tool: str, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs a tool on the CPU, in this process, which has loaded torch already."""
    main = main_of(tool)

    def run(*arguments: str | Path) -> Result:
        code = main(["--device", "cpu", *map(str, arguments)])
        return Result(code, *capsys.readouterr())

    return run


def only_line(result: Result) -> str:
    """Return the one line that a tool said of a mistake, and nothing else."""
    assert (result.stdout, result.stderr.count("\n")) == ("", 1)
    return result.stderr
