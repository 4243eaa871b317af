"""What a drill has seen."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.drill.child import Broken


class Skipped(Exception):
    """A case cannot be tried on this machine; the message says why."""


@dataclass
class Row:
    """One case."""

    case: str
    promised: str
    seen: list[str] = field(default_factory=list)
    result: str = "pass"
    """`pass`, `FAIL` or `skipped`."""
    took_s: float = 0.0

    def saw(self, what: str) -> None:
        """Add to what was seen."""
        self.seen.append(what)


@dataclass
class Table:
    """All cases, in the order in which they began."""

    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def case(self, name: str, promised: str) -> Iterator[Row]:
        """Try one case; the next one is tried whatever becomes of it."""
        row = Row(name, promised)
        self.rows.append(row)
        began_s = time.monotonic()
        try:
            yield row
        except Broken as broken:
            row.result = "FAIL"
            row.saw(str(broken))
        except Skipped as skipped:
            row.result = "skipped"
            row.saw(str(skipped))
        row.took_s = time.monotonic() - began_s
        print(f"{row.result:<8}{row.case}: {'; '.join(row.seen)} ({row.took_s:.0f} s)", flush=True)  # noqa: T201

    @property
    def has_passed(self) -> bool:
        """Whether nothing was otherwise than promised."""
        return all(row.result != "FAIL" for row in self.rows)

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = ["| case | promised | seen | result |", "|---|---|---|---|"]
        lines += [f"| {row.case} | {row.promised} | {'; '.join(row.seen)} | {row.result} |" for row in self.rows]
        return "\n".join(lines)
