"""Print how large the rooms of the package are: python -m tests.sizes [REVISION].

Without a revision the files of the checkout are measured, else those of a commit. Per room and in total:

modules, lines      their number; median and maximum of their lines
functions, body     functions and methods, nested ones too; median and maximum of the lines of a body, without its docstring;
                    a body that is only `...` is a declaration, and not counted
complexity          cyclomatic, by radon: mean of all functions, and how many are over 10
documented          fraction of public modules, classes, functions and methods with a docstring

Below the table: which room imports which, and how long it takes to import every module in a fresh process.
"""

import argparse
import ast
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from time import perf_counter
from typing import Final

from radon.complexity import cc_visit
from radon.visitors import Class

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "maskstream"
COMPLEX: Final = 10
Definition = ast.FunctionDef | ast.AsyncFunctionDef
HEAD: Final = ("room", "modules", "lines", "max", "functions", "body", "max", "complexity", f"> {COMPLEX}", "documented")
IMPORT_ALL: Final = """
import importlib, sys, time, cv2
started = time.perf_counter()
for name in sys.argv[1:]:
    importlib.import_module(name)
print(time.perf_counter() - started)
"""


@dataclass
class Sizes:
    """The sizes of some modules."""

    lines: list[int] = field(default_factory=list)
    """Of each module."""
    bodies: list[int] = field(default_factory=list)
    """Lines of the body of each function."""
    complexities: list[int] = field(default_factory=list)
    documented: list[bool] = field(default_factory=list)
    """Of each public object: whether it has a docstring."""

    def add(self, text: str) -> None:
        """Add a module, given its source text."""
        tree = ast.parse(text)
        self.lines.append(len(text.splitlines()))
        lines = [body_lines(node) for node in ast.walk(tree) if isinstance(node, Definition)]
        self.bodies += [count for count in lines if count]
        blocks = [block for block in cc_visit(text) if not isinstance(block, Class)]  # methods are blocks of their own
        self.complexities += [block.complexity for block in blocks]
        self.documented += [ast.get_docstring(node) is not None for node in public(tree)]

    def row(self, name: str) -> tuple[str, ...]:
        """Return the cells of the table."""
        return (
            *(name, str(len(self.lines)), f"{median(self.lines or [0]):.0f}", str(max(self.lines, default=0))),
            *(str(len(self.bodies)), f"{median(self.bodies or [0]):.1f}", str(max(self.bodies, default=0))),
            *(f"{mean(self.complexities or [0]):.2f}", str(sum(each > COMPLEX for each in self.complexities))),
            f"{mean(self.documented or [True]):.0%}",
        )


def body_lines(function: Definition) -> int:
    """Return the lines from the first statement after the docstring to the last one; 0 for a declaration."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    is_declared_only = len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    return 0 if not body or is_declared_only else (body[-1].end_lineno or 0) - body[0].lineno + 1


def public(node: ast.Module | ast.ClassDef) -> Iterator[ast.Module | ast.ClassDef | Definition]:
    """Yield a module or class, and the public classes, functions and methods in it."""
    yield node
    for child in node.body:
        if isinstance(child, ast.ClassDef) and not child.name.startswith("_"):
            yield from public(child)
        elif isinstance(child, Definition) and not child.name.startswith("_"):
            yield child


def room(path: Path) -> str:
    """Return the room of a module, given its path in the package."""
    return path.parts[0].removesuffix(".py") if len(path.parts) > 1 else "."


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield the modules of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        yield from (name for name in names if name.startswith(f"{PACKAGE}."))


def arrows(package: Path) -> set[tuple[str, str]]:
    """Return which room imports which other room; a module beside the rooms is one of its own."""
    found = set()
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        others = {name.split(".")[1] for name in imported(ast.parse(path.read_text(encoding="utf-8")))}
        found |= {(own, other) for other in others if other != own}
    return found - {arrow for arrow in found if arrow[0] == "__init__"}


def import_seconds(package: Path) -> float:
    """Return how long a fresh process takes to import every module, libraries included."""
    modules = [".".join((PACKAGE, *path.relative_to(package).with_suffix("").parts)) for path in package.rglob("*.py")]
    names = sorted(name.removesuffix(".__init__") for name in modules if not name.endswith(".__main__"))
    command = [sys.executable, "-W", "ignore", "-c", IMPORT_ALL, *names]
    done = subprocess.run(command, cwd=package.parent, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def report(package: Path) -> str:
    """Return the table and what is below it, for a package in a folder."""
    rooms: dict[str, Sizes] = {}
    total = Sizes()
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        rooms.setdefault(room(path.relative_to(package)), Sizes()).add(text)
        total.add(text)
    rows = [HEAD, *(sizes.row(name) for name, sizes in sorted(rooms.items())), total.row("total")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    started = perf_counter()
    graph = arrows(package)
    parsed_s = perf_counter() - started
    nodes = {each for arrow in graph for each in arrow}
    lines += ["", f"import graph: {len(nodes)} rooms and single modules, {len(graph)} arrows, read in {parsed_s:.1f} s"]
    return "\n".join([*lines, f"importing every module: {import_seconds(package):.1f} s"])


def main() -> None:
    """Measure the checkout or a revision."""
    parser = argparse.ArgumentParser(description="Print how large the rooms of the package are.")
    parser.add_argument("revision", nargs="?", help="a commit, branch or tag; default: the files of the checkout")
    revision = parser.parse_args().revision
    if revision is None:
        print(report(ROOT / PACKAGE))  # noqa: T201
        return
    command = ["git", "archive", "--format=tar", revision, PACKAGE]
    archive = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        print(report(Path(folder, PACKAGE)))  # noqa: T201


if __name__ == "__main__":
    main()
