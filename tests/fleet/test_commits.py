"""A result of an archive is there completely or not at all."""

from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.fleet.commits import committed_ids, committing, is_committed, is_result_video, remove_parts, remove_results
from tests.disks import files_at_most

FIRST, SECOND = "ab" + "0" * 62, "ab" + "1" * 62


def commit(archive: Path, job_id: str, text: str = "{}") -> None:
    with committing(archive, job_id) as part:
        (part / "summary.json").write_text(text)
        (part / "events.jsonl").write_text(text)


def everything(archive: Path) -> list[str]:
    return sorted(str(path.relative_to(archive)) for path in archive.rglob("*"))


def test_a_result_is_in_the_folder_of_its_job(tmp_path: Path) -> None:
    commit(tmp_path, FIRST)
    assert everything(tmp_path) == ["ab", f"ab/{FIRST}", f"ab/{FIRST}/events.jsonl", f"ab/{FIRST}/summary.json"]
    assert is_committed(tmp_path, FIRST)
    assert not is_committed(tmp_path, SECOND)
    assert committed_ids(tmp_path) == {FIRST}


def test_the_first_commit_counts(tmp_path: Path) -> None:
    with committing(tmp_path, FIRST) as slow:
        (slow / "summary.json").write_text("slow")
        commit(tmp_path, FIRST, "fast")
    assert (tmp_path / "ab" / FIRST / "summary.json").read_text() == "fast"
    assert len(list((tmp_path / "ab").iterdir())) == 1


def test_what_is_left_of_a_result_that_was_removed_in_part_is_replaced(tmp_path: Path) -> None:
    commit(tmp_path, FIRST)
    (tmp_path / "ab" / FIRST / "summary.json").unlink()
    commit(tmp_path, FIRST, "again")
    assert (tmp_path / "ab" / FIRST / "events.jsonl").read_text() == "again"
    assert is_committed(tmp_path, FIRST)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with committing(tmp_path, FIRST) as part:
            (part / "summary.json").write_text("{}")
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        fail()
    assert everything(tmp_path) == ["ab"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "ab").write_text("a file")
    refused = r"cannot be written: .*; make room or choose another --output"
    with (
        pytest.raises(SinkError, match=refused),
        committing(tmp_path, FIRST),
    ):
        pass
    with files_at_most(1), pytest.raises(OSError, match="File too large"):
        commit(tmp_path, "cd" + "0" * 62)
    assert everything(tmp_path) == ["ab", "cd"]


def test_what_killed_workers_have_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    commit(tmp_path, FIRST)
    commit(tmp_path, SECOND)
    before = everything(tmp_path)
    killed = committing(tmp_path, "cd" + "0" * 62)
    part = killed.__enter__()
    (part / "faces.jsonl").write_text("half a li")
    (tmp_path / "mine.part").mkdir()
    assert committed_ids(tmp_path) == {FIRST, SECOND}
    remove_parts(tmp_path)
    assert everything(tmp_path) == [*before, "mine.part"]
    remove_results(tmp_path, [FIRST, "ef" + "0" * 62])
    assert committed_ids(tmp_path) == {SECOND}


def test_videos_of_results_are_known_by_their_paths(tmp_path: Path) -> None:
    assert is_result_video(str(tmp_path / "ab" / FIRST / "out.mp4"))
    assert not is_result_video(str(tmp_path / "ab" / "out.mp4"))
    assert not is_result_video(str(tmp_path / FIRST / "in.mp4"))
