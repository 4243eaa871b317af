"""Tables and percentiles of measurements."""

from collections.abc import Sequence
from math import ceil


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" if line is not lines[1] else f"|{'|'.join(line)}|" for line in lines)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that is not below so many percent of the values."""
    return sorted(values)[max(0, ceil(len(values) * percent / 100) - 1)]
