import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.io.files import csv_text, make_folder, one_line, readable_by, replace_file, tighten


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
    assert one_line("a\nb\r\x1b[31m\u2028c\udcff 東\u3000門") == "a\\nb\\r\\x1b[31m\\u2028c\\udcff 東\u3000門"
    assert str(SinkError("a\nb\udcff")) == "a\\nb\\udcff"


@pytest.fixture(params=[0o022, 0o002, 0o027, 0o077], ids="umask {:03o}".format)
def each_umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(("who", "hidden"), [("owner", 0o077), ("group", 0o007), ("everyone", 0)])
def test_what_is_written_within_is_for_whom_it_should_be_and_never_for_more_than_before(
    tmp_path: Path, each_umask: int, who: str, hidden: int
) -> None:
    for name in ("continued", "replaced"):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(0o666 & ~each_umask)
    with readable_by(who):  # type: ignore[arg-type]
        make_folder(str(tmp_path / "folder" / "below"))
        (tmp_path / "folder" / "below" / "file").touch()
        replace_file(tmp_path / "replaced", b"")
        tighten(str(tmp_path / "continued"))
    assert {mode(path) for path in (tmp_path / "folder").rglob("*")} == {
        0o777 & ~each_umask & ~hidden,
        0o666 & ~each_umask & ~hidden,
    }
    assert mode(tmp_path / "replaced") == mode(tmp_path / "continued") == 0o666 & ~each_umask & ~hidden
    (tmp_path / "after").touch()
    assert mode(tmp_path / "after") == 0o666 & ~each_umask


def test_a_file_that_others_may_write_keeps_its_permissions_where_nobody_asked_for_privacy(tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    (tmp_path / "shared").chmod(0o666)
    tighten(str(tmp_path / "shared"))
    with readable_by("owner"):
        tighten("/dev/null")
    assert mode(tmp_path / "shared") == 0o666
    assert mode(Path("/dev/null")) == 0o666


def test_a_cache_is_as_readable_as_the_folder_that_it_is_made_in(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with readable_by("owner"):
        make_folder(str(tmp_path / "cache"), like_parent=True)
        replace_file(tmp_path / "cache" / "graph", b"", like_folder=True)
    assert (mode(tmp_path / "cache"), mode(tmp_path / "cache" / "graph")) == (0o755, 0o644)


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_the_mode_is_that_of_the_file_or_of_the_umask(tmp_path: Path) -> None:
    replace_file(tmp_path / "new", b"content")
    (tmp_path / "shared").touch()
    for mode in (0o664, 0o400):
        (tmp_path / "shared").chmod(mode)
        replace_file(tmp_path / "shared", b"content")
        assert (tmp_path / "shared").stat().st_mode & 0o777 == mode
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o640


def test_processes_of_one_number_do_not_meet(tmp_path: Path) -> None:
    """As in two containers that share a folder: what another is writing stays as it is."""
    ours = [tmp_path / f".{os.getpid()}.part", tmp_path / ".maskstream-0123456789abcdef.part"]
    for path in ours:
        path.write_bytes(b"of another")
    replace_file(tmp_path / "a", b"content")
    assert [path.read_bytes() for path in ours] == [b"of another"] * 2


def test_what_a_killed_run_has_left_is_removed(tmp_path: Path) -> None:
    left, foreign = tmp_path / ".maskstream-0123456789abcdef.part", tmp_path / ".other.part"
    for path in (left, foreign):
        path.touch()
        os.utime(path, (1, 1))
    replace_file(tmp_path / "a", b"content")
    assert sorted(path.name for path in tmp_path.iterdir()) == [foreign.name, "a"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    replace_file(pipe, b"content")
    reader.join()
    assert (read, pipe.is_fifo()) == ([b"content"], True)


def test_a_cell_is_no_formula() -> None:
    texts = ["=1+1", "+1", "-1", "@cam", "\tx", "\rx", "＝1", "a=b", " =1", ""]
    assert csv_text([[text] for text in texts[:4]]) == "'=1+1\n'+1\n'-1\n'@cam\n"
    written = csv_text([texts])
    assert written == "'=1+1,'+1,'-1,'@cam,'\tx,\"'\rx\",'＝1,a=b, =1,\n"
    assert csv_text([[-1, -0.5, None]], bom=True) == "\ufeff-1,-0.5,\n"
