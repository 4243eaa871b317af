"""Tools as modules: they are scripts, and lie in no package."""

import importlib.util
from collections.abc import Callable, Sequence

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
