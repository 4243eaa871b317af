from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.files import one_line, replace_file


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)  # as long as names can be
    replace_file(path, b"first")
    replace_file(path, b"second")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {path.name: b"second"}


def test_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    link.symlink_to(target)
    replace_file(link, b"content")
    assert link.is_symlink()
    assert target.read_bytes() == b"content"


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, reason in ((tmp_path / "none" / "a", "No such file"), (tmp_path / "folder", "Is a directory")):
        with pytest.raises(SinkError, match=f"cannot be written: {reason}.*; make room or choose another place"):
            replace_file(path, b"content")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_names_in_messages_are_one_line() -> None:
    assert one_line("a/ü.png") == "a/ü.png"
    assert one_line("a\nb\udcff") == "a\\nb\\udcff"
