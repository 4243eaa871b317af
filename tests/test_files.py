import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.files import make_folder, one_line, readable_by, replace_file, tighten


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


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077], ids="umask {:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("who", "hidden"), [("owner", 0o077), ("group", 0o007), ("everyone", 0)])
def test_what_is_written_within_is_for_whom_it_should_be_and_never_for_more_than_before(
    tmp_path: Path, umask: int, who: str, hidden: int
) -> None:
    for name in ("continued", "replaced"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666 & ~umask)
    with readable_by(who):  # type: ignore[arg-type]
        make_folder(str(tmp_path / "folder" / "below"))
        (tmp_path / "folder" / "below" / "file").touch()
        replace_file(tmp_path / "replaced", b"")
        tighten(str(tmp_path / "continued"))
    assert {mode(path) for path in (tmp_path / "folder").rglob("*")} == {0o777 & ~umask & ~hidden, 0o666 & ~umask & ~hidden}
    assert mode(tmp_path / "replaced") == mode(tmp_path / "continued") == 0o666 & ~umask & ~hidden
    (tmp_path / "after").touch()
    assert mode(tmp_path / "after") == 0o666 & ~umask


def test_a_file_that_others_may_write_keeps_its_permissions_where_nobody_asked_for_privacy(tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    (tmp_path / "shared").chmod(0o666)
    before = os.umask(0o022)
    tighten(str(tmp_path / "shared"))
    os.umask(before)
    tighten("/dev/null")
    assert mode(tmp_path / "shared") == 0o666
    assert mode(Path("/dev/null")) == 0o666


def test_a_cache_is_as_readable_as_the_folder_that_it_is_made_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with readable_by("owner"):
        make_folder(str(tmp_path / "cache"), like_parent=True)
        replace_file(tmp_path / "cache" / "graph", b"", like_folder=True)
    assert (mode(tmp_path / "cache"), mode(tmp_path / "cache" / "graph")) == (0o755, 0o644)
