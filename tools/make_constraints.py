#!/usr/bin/env python3
"""Write constraints.txt: the versions that are installed here, of all that requirements*.txt lead to.

python tools/make_constraints.py        # in the environment that has just passed `make check`; or: make constraints

What is needed on one system only is left out: PyTorch itself says which CUDA libraries it takes, and each build takes others.
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
# Written by `make constraints`, not by hand.
"""


def main() -> None:
    lines = [f"{name}=={version}\n" for name, version in sorted(installed(requirements(ROOT)).items())]
    (ROOT / "constraints.txt").write_text(HEAD + "".join(lines))
    print(f"constraints.txt: {len(lines)} packages")


def requirements(folder: Path) -> list[Requirement]:
    """Return what all requirements*.txt of a folder ask for."""
    texts = [path.read_text() for path in sorted(folder.glob("requirements*.txt"))]
    lines = [line.partition("#")[0].strip() for text in texts for line in text.splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r ")]


def installed(asked: list[Requirement]) -> dict[str, str]:
    """Return the versions by name of what is asked for, and of all that this needs in turn."""
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
    """Yield what a package needs here as anywhere, with these of its extras."""
    for requirement in map(Requirement, distribution.requires or []):
        marker = requirement.marker
        if marker is not None and "platform_system" in str(marker):
            continue
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield requirement


if __name__ == "__main__":
    main()
