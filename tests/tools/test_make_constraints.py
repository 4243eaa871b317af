"""The file of exact versions: it holds all that is asked for, and what is in it may be installed anywhere."""

import re
from importlib.metadata import version

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tools.make_constraints import installed, requirements

LINE = re.compile(r"[a-z0-9-]+==[0-9][a-z0-9.]*")


def written() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line for line in lines if not LINE.fullmatch(line)] == []  # no place of a file, no build of one machine
    assert lines == sorted(lines, key=lambda line: line.partition("==")[0])
    return dict(line.split("==") for line in lines)


def test_it_has_a_fitting_version_of_all_that_is_asked_for() -> None:
    versions = written()
    asked = requirements(ROOT)
    assert {"torch", "shtab", "ultralytics", "pytest"} <= {requirement.name for requirement in asked}
    unfit = [asking for asking in asked if versions.get(canonicalize_name(asking.name)) not in asking.specifier]
    assert unfit == []


def test_libraries_of_one_system_are_not_in_it() -> None:
    assert [name for name in written() if name.startswith(("nvidia-cu", "nvidia-nv", "cuda-", "triton"))] == []


def test_what_is_needed_in_turn_is_found() -> None:
    found = installed([Requirement("pydantic>=2")])
    assert found["pydantic"] == version("pydantic")
    assert {"pydantic-core", "annotated-types", "typing-extensions"} <= set(found)
    assert "email-validator" not in found  # an extra that nobody asked for
