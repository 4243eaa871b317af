"""Test every kind of input through the command line: python -m tests.inputs --report docs/inputs.md."""

import argparse
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.command_lines import fork_server
from tests.inputs.rows import SECTIONS
from tests.inputs.table import ITSELF, Row, Seen, attempt, beginning_of, line_of, lines_of, make_base, markdown

PLAIN_TITLE = "The plain file"
ALL = {PLAIN_TITLE: [ITSELF], **SECTIONS}
AT_ONCE = 2
"""Rows that run at the same time: most of them wait for their sender or their start half of the time."""


def main() -> int:
    """Run the rows; return 1 if one does not give the expected result."""
    parser = argparse.ArgumentParser(prog="python -m tests.inputs", description=__doc__, allow_abbrev=False)
    parser.add_argument(
        "--only", action="append", metavar="WORD", help="only rows and sections with WORD in their name; may be repeated"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table to FILE; with --only, other rows stay")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files of the rows in DIR")
    parser.add_argument("--jobs", type=int, default=AT_ONCE, metavar="N", help=f"rows at the same time; default: {AT_ONCE}")
    given = parser.parse_args()
    before = lines_of(given.report.read_text()) if given.report and given.report.exists() and given.only else {}
    seen: dict[str, list[Seen]] = {}
    with tempfile.TemporaryDirectory() as folder, fork_server():
        for title, rows in _tried(given.keep or Path(folder), given.only or [""], given.jobs):
            seen[title] = rows
            if given.report:
                given.report.write_text(_report(seen, before))
    failed = [each for rows in seen.values() for each in rows if each.faults]
    for each in failed:
        print(f"FAIL {each.row.name}: {'; '.join(each.faults)}")  # noqa: T201
    print(f"{sum(map(len, seen.values()))} rows, {len(failed)} not as promised")  # noqa: T201
    return 1 if failed else 0


def _tried(work: Path, wanted: list[str], jobs: int) -> Iterator[tuple[str, list[Seen]]]:
    base = work / "base"
    shutil.rmtree(work / "base", ignore_errors=True)
    base.mkdir(parents=True)
    make_base(base)
    plain = _try(ITSELF, work, 0, None)
    yield PLAIN_TITLE, [plain]
    number = 0
    with ThreadPoolExecutor(jobs) as pool:
        for title, rows in SECTIONS.items():
            chosen = [row for row in rows if any(word.lower() in f"{title} {row.name}".lower() for word in wanted)]
            numbers = range(number + 1, number + 1 + len(chosen))
            number += len(chosen)
            seen = list(pool.map(lambda row, number: _try(row, work, number, plain), chosen, numbers))
            if seen:
                yield title, seen


def _try(row: Row, work: Path, number: int, plain: Seen | None) -> Seen:
    folder = work / f"{number:03d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        seen = attempt(row, work / "base", folder, plain)
    except Exception:  # what cannot be made is said in its row, and the next is tried
        said = traceback.format_exc(limit=-1).strip().replace("\n", " ")
        seen = Seen(row, -1, 0, 0, 0, "", (f"could not be tried: {said}",), 0.0)
    verdict = f"FAIL {'; '.join(seen.faults)}" if seen.faults else "yes"
    counted = f"{seen.code}, {seen.frames} frames, {seen.faces} faces, {seen.people} people, {seen.lasted_s:.1f} s"
    print(f"{number:3d} {row.name}: {counted}: {verdict}".encode(errors="backslashreplace").decode(), flush=True)  # noqa: T201
    return seen


def _report(seen: dict[str, list[Seen]], before: dict[str, list[str]]) -> str:
    """Return the page; rows that were not run keep their lines."""
    lines: dict[str, list[str]] = {}
    for title, rows in ALL.items():
        now = {each.row.name: line_of(each) for each in seen.get(title, [])}
        kept = {row.name: line for row in rows for line in before.get(title, []) if line.startswith(beginning_of(row))}
        lines[title] = [(kept | now)[row.name] for row in rows if row.name in kept or row.name in now]
    count = sum(map(len, lines.values()))
    tables = "\n".join(markdown(title, of_title) for title, of_title in lines.items() if of_title)
    return f"""# Tested inputs

`python -m tests.inputs --report docs/inputs.md` creates this table of {count} inputs. Each input is made of the first second of
`assets/demo.mp4` (`clip.mp4`, and its first frame `photo.png`), and read through the command line with the default models. The
command needs a checkout, `requirements-dev.txt`, ffmpeg and gst-rtsp-server (see `.ci/run`), and takes some minutes.
`--only WORD` runs some rows. `tests/inputs/` contains how each input is made and which result is expected.

Each command also has the option `--jsonl faces.jsonl`; the numbers of frames, faces and people come from the records. The number
of faces must equal that of the same number of frames of the plain file, with a tolerance of 6 %. If the models are slower than
a live source, fewer frames are analysed than were sent. `HOST` is a server on this machine.

{tables}"""


if __name__ == "__main__":
    sys.exit(main())
