"""Some rows of the table of inputs, and the detection of unexpected results."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.inputs.rows import SECTIONS
from tests.inputs.table import (
    FRAMES,
    ITSELF,
    PLAIN,
    Row,
    Seen,
    attempt,
    beginning_of,
    faults_of,
    line_of,
    lines_of,
    make_base,
    markdown,
)

EVERY = 7
"""Every Nth row of a section runs here; `python -m tests.inputs` runs them all."""
CHOSEN = [row for rows in SECTIONS.values() for row in rows[::EVERY]]
WHOLE = Seen(ITSELF, code=0, frames=FRAMES, faces=75, people=3, line="", faults=(), lasted_s=1.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, system_tool: Callable[[str], str]) -> Path:
    system_tool("ffmpeg")
    folder = tmp_path_factory.mktemp("base")
    make_base(folder)
    return folder


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    seen = attempt(ITSELF, base, tmp_path_factory.mktemp("plain"), None)
    assert seen.faults == ()
    assert (seen.frames, seen.faces, seen.people) == (FRAMES, 75, 3)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("row", CHOSEN, ids=lambda row: row.name)
def test_row(row: Row, base: Path, plain: Seen, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if row.source.startswith("rtsp"):
        request.getfixturevalue("rtsp_tools")
    assert attempt(row, base, tmp_path, plain).faults == ()


def test_names_of_a_section_differ() -> None:
    for rows in SECTIONS.values():
        names = [row.name for row in rows]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("row", "seen", "words"),
    [
        (Row("a", PLAIN), {"code": 3}, "exit code 3 for 0"),
        (Row("a", PLAIN), {"frames": 24, "faces": 72}, "24 frames for 25"),
        (Row("a", PLAIN, frames=(5, 20)), {}, "25 frames for 5 to 20"),
        (Row("a", PLAIN), {"faces": 70}, "70 faces for 75"),
        (Row("a", PLAIN, faces=0.0), {"faces": 2}, "2 faces for 0"),
        (Row("a", PLAIN), {"people": 4}, "4 people for 3"),
        (Row("a", PLAIN, code=3), {"code": 3, "line": "x"}, "25 frames for 0"),
        (
            Row("a", PLAIN, code=3, says="not read"),
            {"code": 3, "frames": 0, "faces": 0, "line": "no"},
            "says: 'no' for 'not read'",
        ),
    ],
)
def test_what_is_not_as_promised_is_said(row: Row, seen: dict[str, int | str], words: str) -> None:
    as_seen = Seen(**{**vars(WHOLE), "row": row, **seen})
    assert any(fault.startswith(words) for fault in faults_of(as_seen, WHOLE))


def test_what_is_as_promised_has_no_faults() -> None:
    assert faults_of(WHOLE, WHOLE) == []
    refused = Row("b", "b.txt", code=3, says="not a video")
    assert faults_of(Seen(refused, 3, 0, 0, 0, "b.txt: not a video", (), 0.1), WHOLE) == []


def test_lines_of_a_report() -> None:
    odd = Seen(Row("odd | name", "<a>"), 3, 0, 0, 0, "", ("broken",), 0.0)
    table = markdown("Names", [line_of(WHOLE), line_of(odd)])
    plain_line, odd_line = lines_of(table)["Names"][1:]
    assert plain_line == f"| the plain file | `run_stream.py --source {PLAIN}` | 0 | 25 | 75 | 3 |  | yes |"
    assert odd_line == "| odd \\| name | `run_stream.py --source &lt;a>` | 3 |  |  |  |  | broken |"
    assert odd_line.startswith(beginning_of(odd.row))
