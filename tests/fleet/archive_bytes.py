"""Compare the results of two archives byte by byte."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from maskstream.fleet.merge import OUTPUTS

COMPARED = ("events.jsonl", "summary.json", "faces.jsonl")
"""Of each file; of `faces.jsonl` all but the times of processing."""


def differences(first: Path, other: Path) -> list[str]:
    """Return the paths of the files that are not the same in both, or are in one only."""
    names = sorted({*_names(first), *_names(other)})
    return [name for name in names if _content(first / name) != _content(other / name)]


def table_rows(path: Path) -> int:
    """Return the number of rows below the heading of a CSV file."""
    with path.open(newline="", encoding="utf-8") as lines:
        return sum(1 for _ in csv.reader(lines)) - 1


def _names(archive: Path) -> Iterator[str]:
    yield from OUTPUTS
    for name in COMPARED:
        yield from (str(path.relative_to(archive)) for path in archive.glob(f"??/*/{name}"))


def _content(path: Path) -> bytes | list[str]:
    if not path.exists():
        return []
    if path.name != "faces.jsonl":
        return path.read_bytes()
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    return [json.dumps({key: value for key, value in record.items() if key != "timing_ms"}) for record in records]
