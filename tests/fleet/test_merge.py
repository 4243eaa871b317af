"""What `merge` writes about an archive does not depend on how its results came about."""

import csv
import json
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskstream.errors import SinkError
from maskstream.fleet.archive_results import EVENTS, SUMMARY, FailedJob, MergedJob, result_folder
from maskstream.fleet.merge import OUTPUTS, merge
from maskstream.types import Label
from tests.command_lines import ROOT, run
from tests.disks import files_at_most
from tests.fleet.results import BROKEN, QUARANTINED, commit, merged_archive
from tests.properties import examples
from tests.schemas import validator

HOSTILE = (
    "nas/=cmd|' C calc'!A0.mp4",
    '-1.mp4"; DROP, "x.mp4',
    "nas/<script>throw 'escaped'<|script>\"'&.mp4",
    "nas/two\nlines\r\x1b[31m.mp4",
    os.fsdecode(b"nas/caf\xe9.mp4"),
)
"""Names that a spreadsheet, a page or a terminal would stumble over."""


def rows(archive: Path, name: str) -> list[dict[str, str]]:
    with (archive / name).open(encoding="utf-8", errors="surrogateescape", newline="") as table:
        return list(csv.DictReader(table))


def contents(archive: Path) -> dict[str, bytes]:
    return {name: (archive / name).read_bytes() for name in OUTPUTS}


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MergedJob]]:
    """Three results: of two folders, with and without people."""
    archive = tmp_path_factory.mktemp("three")
    jobs = [
        commit(archive, "nas/door/a.mp4", [Label.NO_MASK], 10),
        commit(archive, "nas/door/b.mp4", [Label.MASK, Label.INCORRECT], 5),
        commit(archive, "nas/lab/c.mp4", [], 2),
    ]
    return archive, jobs


def test_the_sums_are_those_of_the_summaries(three: tuple[Path, list[MergedJob]]) -> None:
    archive, jobs = three
    totals = merge(archive, jobs, [BROKEN])
    assert (totals.files, totals.failed, totals.frames, totals.size_bytes) == (3, 1, 85, 17_000)
    assert totals.video_s == pytest.approx(9.8 + 4.8 + 1.8)
    assert totals.people == {Label.NO_MASK: 1, Label.MASK: 1, Label.INCORRECT: 1, Label.UNKNOWN: 0}
    assert totals.person_s[Label.NO_MASK] == pytest.approx(9.8)
    assert totals.mask_share == pytest.approx(4.8 / (9.8 + 4.8 + 4.8), abs=1e-4)
    assert totals.events[Label.NO_MASK] == totals.events[Label.INCORRECT] == 1
    assert totals.longest_event_s[Label.NO_MASK] == pytest.approx(9.8)
    assert [(row["path"], row["people"], row["mask_share"], row["events"]) for row in rows(archive, "archive.csv")] == [
        ("nas/door/a.mp4", "1", "0.0", "1"),
        ("nas/door/b.mp4", "2", "0.5", "1"),
        ("nas/lab/c.mp4", "0", "", "0"),
    ]
    assert [(row["path"], row["label"], row["duration_s"], row["cause"]) for row in rows(archive, "events.csv")] == [
        ("nas/door/a.mp4", "no_mask", "9.8", "ended"),
        ("nas/door/b.mp4", "incorrect", "4.8", "ended"),
    ]


def test_a_real_result_is_merged(tmp_path: Path) -> None:
    job = MergedJob("ab" * 32, "assets/demo.mp4", (ROOT / "assets" / "demo.mp4").stat().st_size)
    folder = result_folder(tmp_path, job.job_id)
    folder.mkdir(parents=True)
    options = (
        "--source",
        "assets/demo.mp4",
        "--summary",
        folder / SUMMARY,
        "--events",
        folder / EVENTS,
        "--max-frames",
        "60",
        "--no-show",
        "--quiet",
    )
    done = run([sys.executable, str(ROOT / "run_stream.py"), *map(str, options)], cwd=ROOT, text=True)
    assert done.returncode == 0, done.stderr
    totals = merge(tmp_path, [job], [])
    source = json.loads((folder / SUMMARY).read_text())["sources"][0]
    (file,) = json.loads((tmp_path / "archive.json").read_text())["files"]
    assert {key: file[key] for key in ("frames", "people", "person_s", "mask_share", "events")} == {
        key: source[key] for key in ("frames", "people", "person_s", "mask_share", "events")
    }
    assert sum(totals.people.values()) == 3
    assert len(rows(tmp_path, "events.csv")) == source["events"]["no_mask"]["count"]


def test_archive_json_has_its_schema_and_lists_the_failures(tmp_path: Path) -> None:
    record = merged_archive(tmp_path)
    validator("archive").validate(record)
    assert [each["path"] for each in record["failures"]] == ["nas/broken.mp4", "nas/kills.mp4"]
    assert record["failures"][1]["last_lines"] == list(QUARANTINED.last_lines)
    assert [(row["state"], row["last_line"]) for row in rows(tmp_path, "failures.csv")] == [
        ("failed", ""),
        ("quarantined", "Fatal Python error: Segmentation fault"),
    ]


@pytest.mark.parametrize("failures", [[], [BROKEN]])
def test_an_archive_without_results_has_its_files(tmp_path: Path, failures: list[FailedJob]) -> None:
    totals = merge(tmp_path, [], failures)
    assert (totals.files, totals.failed, totals.mask_share) == (0, len(failures), None)
    validator("archive").validate(json.loads((tmp_path / "archive.json").read_text()))
    assert rows(tmp_path, "archive.csv") == []
    assert "No file has a result" in (tmp_path / "archive.html").read_text()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[MergedJob]]:
    """Results of files whose names are hard to sort, and of two files with the same name in time."""
    archive = tmp_path_factory.mktemp("many")
    chance = random.Random(7)
    names = ("nas/b/x.mp4", "nas/b.mp4", "nas/b-1/x.mp4", "nas/B/x.mp4", "nas/ä.mp4", "/abs/x.mp4", "x.mp4", *HOSTILE)
    return archive, [commit(archive, name, chance.choices(list(Label), k=2), chance.randint(1, 6)) for name in names]


@given(st.randoms(use_true_random=False), st.booleans())
@examples(1)
def test_the_order_of_completion_does_not_change_a_byte(
    many: tuple[Path, list[MergedJob]], chance: random.Random, bom: bool
) -> None:
    archive, jobs = many
    failures = [BROKEN, QUARANTINED, FailedJob(HOSTILE[0], "failed", "one"), FailedJob(HOSTILE[0], "failed", "other")]
    merge(archive, jobs, failures, bom=bom)
    first = contents(archive)
    assert merge(archive, chance.sample(jobs, len(jobs)), chance.sample(failures, len(failures)), bom=bom).files == len(jobs)
    assert contents(archive) == first
    assert all(content.startswith(b"\xef\xbb\xbf") == bom for name, content in first.items() if name.endswith(".csv"))


def test_hostile_names_stay_cells_and_text(many: tuple[Path, list[MergedJob]]) -> None:
    archive, jobs = many
    merge(archive, jobs, [FailedJob(name, "failed", f"{name}: no video") for name in HOSTILE])
    named = [row["path"] for row in rows(archive, "archive.csv")]
    assert sorted(name.removeprefix("'") for name in named) == sorted(job.path for job in jobs)
    for name in OUTPUTS[:3]:
        assert [cell for row in rows(archive, name) for cell in row.values() if cell[:1] in ("=", "+", "@", "\t")] == []
        assert [row["path"] for row in rows(archive, name) if row["path"].startswith("-")] == []
    assert b"nas/caf\xe9.mp4" in (archive / "archive.csv").read_bytes()
    paths = {file["path"] for file in json.loads((archive / "archive.json").read_text())["files"]}
    assert paths == {job.path for job in jobs}
    page = (archive / "archive.html").read_text()
    assert page.count("<script") == 1
    assert "&lt;script&gt;throw &#39;escaped&#39;" in page
    assert "two\\nlines\\r\\x1b[31m.mp4" in page
    assert "caf\\udce9.mp4" in page


def damage(folder: Path, how: str) -> None:
    summary = json.loads((folder / SUMMARY).read_text())
    match how:
        case "no folder":
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
        case "cut":
            (folder / SUMMARY).write_bytes((folder / SUMMARY).read_bytes()[:-100])
        case "NaN":
            (folder / SUMMARY).write_text(json.dumps({"sources": [summary["sources"][0] | {"last_s": float("nan")}]}))
        case "other label":
            (folder / SUMMARY).write_text(json.dumps(summary).replace("no_mask", "visor"))
        case "text for a number":
            (folder / SUMMARY).write_text(json.dumps({"sources": [summary["sources"][0] | {"frames": "seven"}]}))
        case "no JSON object":
            (folder / SUMMARY).write_text("[]")
        case "cut events":
            (folder / EVENTS).write_bytes((folder / EVENTS).read_bytes()[:-100])
        case "other events":
            (folder / EVENTS).write_text('{"type": "event", "phase": "end"}\n')


@pytest.mark.parametrize(
    "how",
    ["no folder", "cut", "NaN", "other label", "text for a number", "no JSON object", "cut events", "other events"],
)
def test_a_result_that_cannot_be_read_is_a_failure_and_changes_no_other_row(tmp_path: Path, how: str) -> None:
    good, bad = commit(tmp_path, "nas/good.mp4"), commit(tmp_path, "nas/bad.mp4")
    expected = merge(tmp_path, [good], [])
    tables = {name: (tmp_path / name).read_bytes() for name in ("archive.csv", "events.csv")}
    damage(result_folder(tmp_path, bad.job_id), how)
    totals = merge(tmp_path, [good, bad], [])
    assert (totals.files, totals.failed) == (1, 1)
    assert (totals.person_s, totals.frames) == (expected.person_s, expected.frames)
    assert {name: (tmp_path / name).read_bytes() for name in tables} == tables
    (row,) = rows(tmp_path, "failures.csv")
    assert row["path"] == "nas/bad.mp4"
    assert re.fullmatch(r"its result cannot be read: .+; delete .+ and run the same command again", row["error"])
    assert "\n" not in row["error"]


@st.composite
def values(draw: st.DrawFn) -> Any:
    """Any JSON."""
    leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    return draw(st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)))


@given(st.data())
@examples(1)
def test_a_field_with_any_other_value_ends_neither_the_merge_nor_the_validity_of_its_files(
    three: tuple[Path, list[MergedJob]], data: st.DataObject
) -> None:
    archive, jobs = three
    path = result_folder(archive, jobs[0].job_id) / SUMMARY
    original = path.read_text()
    summary = json.loads(original)["sources"][0]
    summary[data.draw(st.sampled_from(sorted(summary)))] = data.draw(values())
    try:
        path.write_text(json.dumps({"sources": [summary]}))
        totals = merge(archive, jobs, [])
    finally:
        path.write_text(original)
    assert totals.files + totals.failed == 3
    validator("archive").validate(json.loads((archive / "archive.json").read_text()))


def test_a_full_disk_leaves_the_earlier_files_and_no_others(tmp_path: Path) -> None:
    jobs = [commit(tmp_path, f"nas/{number}.mp4") for number in range(20)]
    merge(tmp_path, jobs[:1], [])
    before, listed = contents(tmp_path), sorted(tmp_path.iterdir())
    with files_at_most(4000), pytest.raises(SinkError, match=r"archive\.\w+: cannot be written: File too large; make room"):
        merge(tmp_path, jobs, [])
    assert contents(tmp_path) == before
    assert sorted(tmp_path.iterdir()) == listed


def test_a_missing_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"none/archive\.csv: cannot be written: No such file or directory"):
        merge(tmp_path / "none", [], [])
