"""The results of a drill, as a table."""

import os
import platform
import subprocess
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from shlex import join

from tests.drill.calibration import Calibration


class Skipped(Exception):
    """A case cannot run on this machine; the message has the reason."""


@dataclass
class Row:
    """One case."""

    case: str
    promised: str
    seen: list[str] = field(default_factory=list)
    result: str = "pass"
    """`pass`, `FAIL` or `skipped`."""

    def saw(self, what: str) -> None:
        """Add an observation."""
        self.seen.append(what)


@dataclass
class Table:
    """All cases, in the order in which they began. Several threads may add to it."""

    machine: Calibration = field(default_factory=Calibration)
    rows: list[Row] = field(default_factory=list)

    @contextmanager
    def case(self, name: str, promised: str) -> Iterator[Row]:
        """Run one case; the next one runs also where this one fails."""
        row = Row(name, promised)
        self.rows.append(row)
        began_s = time.monotonic()
        try:
            yield row
        except Skipped as skipped:
            row.result = "skipped"
            row.saw(str(skipped))
        except Exception as error:  # an unexpected error fails the case
            row.result = "FAIL"
            row.saw(str(error) if isinstance(error, AssertionError) else traceback.format_exc(limit=-2).replace("\n", " "))
        print(f"{row.result:<8}{row.case}: {'; '.join(row.seen)} ({time.monotonic() - began_s:.0f} s)", flush=True)  # noqa: T201

    @property
    def has_passed(self) -> bool:
        """Whether all promises were kept."""
        return bool(self.rows) and all(row.result != "FAIL" for row in self.rows)

    def report(self, arguments: Sequence[str]) -> str:
        """Return a Markdown page with the table, its date and its command."""
        described = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(described, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        return f"""# Fault drill

`{join(["python", "tools/fault_drill.py", *arguments])}`, {datetime.now(UTC):%Y-%m-%d}, commit {commit.stdout.strip()},
{platform.system()} on {os.cpu_count()} cores, Python {platform.python_version()}. Real RTSP servers on this machine,
real processes of `run_stream.py`. Time limits are for an idle machine; before this drill
{self.machine}.

{self.markdown()}
"""

    def markdown(self) -> str:
        """Return the table as Markdown."""
        lines = ["| case | promised | seen | result |", "|---|---|---|---|"]
        lines += [_line(row.case, row.promised, "; ".join(row.seen), row.result) for row in self.rows]
        return "\n".join(lines)


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
