#!/usr/bin/env python3
"""Write constraints.txt: the installed versions of all packages that requirements*.txt need.

python tools/make_constraints.py        # in the environment that has just passed `make check`; or: make constraints

Packages of one system only are left out: PyTorch chooses its CUDA libraries, and each build needs others.
"""

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT: Final = Path(__file__).resolve().parents[1]
HEAD: Final = """\
# The versions that the tests passed with, all of them: pip install -c constraints.txt .
# Written by `make constraints`: do not edit.
"""


def main() -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(installed(requirements(ROOT)).items())]
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines))
    print(f"constraints.txt: {len(lines)} packages")


def requirements(folder: Path) -> list[Requirement]:
    """Return the requirements of all requirements*.txt in a folder."""
    texts = [path.read_text() for path in sorted(folder.glob("requirements*.txt"))]
    lines = [line.partition("#")[0].strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r ")]


def installed(asked: list[Requirement]) -> dict[str, str]:
    """Return the installed versions by name, of these requirements and of the packages that they need."""
    versions: dict[str, str] = {}
    seen: set[str] = set()
    while asked:
        requirement = asked.pop()
        name = canonicalize_name(requirement.name)
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        distribution = importlib.metadata.distribution(name)
        versions[name] = Version(distribution.version).public  # 2.9.0+cpu is a build of 2.9.0
        asked += needed(distribution, requirement.extras)
    return versions


def needed(distribution: importlib.metadata.Distribution, extras: set[str]) -> Iterator[Requirement]:
    """Yield the requirements of a package that hold on every system, with these of its extras."""
    for requirement in map(Requirement, distribution.requires or []):
        marker = requirement.marker
        if marker is not None and "platform_system" in str(marker):
            continue
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield requirement


if __name__ == "__main__":
    main()
