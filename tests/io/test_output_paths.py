import os
import select
import socket
import stat
from pathlib import Path

import pytest

from maskstream.errors import ConfigError, SinkError
from maskstream.io.files import make_folder
from maskstream.io.output_paths import (
    next_free,
    output_paths,
    require_distinct,
    require_folder,
    require_new,
    require_not_read,
    require_summary_path,
    require_writable,
)
from maskstream.sinks.video_formats import require_video_path
from maskstream.types import SourceInfo


def video(path: str, name: str | None = None) -> SourceInfo:
    return SourceInfo(name or path, 64, 48, live=False, path=path)


def camera(name: str) -> SourceInfo:
    return SourceInfo(name, 64, 48, live=True)


def images(path: str, count: int, name: str | None = None) -> SourceInfo:
    return SourceInfo(name or path, 64, 48, live=False, path=path, images=tuple(f"{path}/{n}.jpg" for n in range(count)))


@pytest.mark.parametrize(
    ("infos", "names"),
    [
        ([video("clips/a.b.mkv")], None),
        ([images("photos", 3)], None),
        ([video("clips/a.b.mkv"), camera("0")], ["a.b.mp4", "0.mp4"]),
        ([video("x/a.mp4"), video("y/a.avi"), video("z/A.mov")], ["a.mp4", "a_2.mp4", "A_3.mp4"]),
        ([video("x/a.mp4", "gate"), camera("Dr. Ny's lab / 1.2")], ["gate.mp4", "Dr._Ny_s_lab_1.2.mp4"]),
        ([camera("rtsp://***@cam:554/s?c=1"), camera("///")], ["cam_554_s_c_1.mp4", "camera.mp4"]),
        ([camera("../../etc/passwd"), camera("Gänge")], ["etc_passwd.mp4", "Gänge.mp4"]),
        ([images("photos/one", 3), images("photo.d.jpg", 1), images("one", 2)], ["one", "photo.d.jpg", "one_2"]),
        ([images("photos", 3, "photos/*.jpg"), images("photos", 3, "photos")], ["photos", "photos_2"]),
    ],
)
def test_what_the_outputs_are_called(
    infos: list[SourceInfo], names: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert output_paths("out", infos) == (["out"] if names is None else [f"out/{name}" for name in names])


def test_one_video_into_a_folder_that_exists(tmp_path: Path) -> None:
    assert output_paths(str(tmp_path), [video("clips/a.mkv")]) == [str(tmp_path / "a.mp4")]


def test_a_folder_is_made_with_those_above_it_and_may_exist(tmp_path: Path) -> None:
    require_folder(str(tmp_path / "a" / "b"))
    assert not (tmp_path / "a").exists()
    make_folder(str(tmp_path / "a" / "b"))
    make_folder(str(tmp_path / "a" / "b"))
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="file is a file"):
        require_folder(str(tmp_path / "file" / "b"))
    with pytest.raises(SinkError, match="cannot be made a folder"):
        make_folder(str(tmp_path / "file" / "b"))


def test_a_pipe_is_not_opened_to_be_tried(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        waits = select.poll()
        waits.register(reader, select.POLLIN | select.POLLHUP)
        require_writable(str(pipe))
        require_distinct([str(pipe)])
        assert waits.poll(0) == []  # a writer that has come and gone would be a hang-up
    finally:
        os.close(reader)


def test_what_cannot_be_written_to(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for path in (tmp_path, tmp_path / "socket", tmp_path / "none" / "a"):
            with pytest.raises(SinkError, match=f"^{path}: cannot be written: "):
                require_writable(str(path))


def test_trying_leaves_everything_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("content")
    (tmp_path / "link").symlink_to("nowhere")
    before = {path.name: path.lstat() for path in tmp_path.iterdir()}
    require_distinct([str(tmp_path / name) for name in ("there", "link", "new")])
    assert {path.name: path.lstat().st_mtime_ns for path in tmp_path.iterdir()} == {
        name: status.st_mtime_ns for name, status in before.items()
    }
    assert stat.S_ISLNK((tmp_path / "link").lstat().st_mode)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize("second", ["a.jsonl", "./a.jsonl", "folder/../a.jsonl", "FOLDER/a.jsonl", "symbolic", "hard"])
def test_one_file_under_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: str, exists: bool) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("FOLDER").symlink_to(tmp_path)
    Path("symbolic").symlink_to("a.jsonl")
    if exists or second == "hard":
        Path("a.jsonl").write_text("kept")
    if second == "hard":
        Path("hard").hardlink_to("a.jsonl")
    before = sorted(Path().iterdir())
    with pytest.raises(ConfigError, match=f"^{second}: given for two outputs"):
        require_distinct(["a.jsonl", "other.csv", second])
    assert sorted(Path().iterdir()) == before


def test_what_two_outputs_may_share(tmp_path: Path) -> None:
    require_distinct(["/dev/null", "/dev/null", str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(ConfigError, match="/dev/stdout: given for two outputs, the other time as -"):
        require_distinct(["-", "/dev/stdout"])


def test_what_the_run_reads_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "hard").hardlink_to(tmp_path / "clip.mp4")
    (tmp_path / "link").symlink_to("hard")
    read = {str(tmp_path / "clip.mp4"): "its own source", "a name of something else": "nothing"}
    require_not_read(["-", str(tmp_path / "new.csv")], read)
    for name in ("clip.mp4", "hard", "link"):
        with pytest.raises(SinkError, match="the output would replace its own source"):
            require_not_read([str(tmp_path / name)], read)


def test_what_is_there_is_refused_where_that_was_asked_for(tmp_path: Path) -> None:
    require_new(["-", "/dev/null", str(tmp_path), str(tmp_path / "new")])
    (tmp_path / "old").touch()
    with pytest.raises(SinkError, match=r"old: already exists, and --no-overwrite is given"):
        require_new([str(tmp_path / "new"), str(tmp_path / "old")])


def test_the_next_name_that_is_free(tmp_path: Path) -> None:
    wanted = str(tmp_path / "day.1.json")
    assert next_free(wanted, ".png") == wanted
    (tmp_path / "day.1.json").touch()
    (tmp_path / "day.1_002.png").symlink_to("nowhere")
    assert next_free(wanted, ".png") == str(tmp_path / "day.1_003.json")


def test_what_is_written_as_a_whole_needs_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for require in (require_video_path, require_summary_path):
        with pytest.raises(SinkError, match="is a pipe or device, not a file"):
            require(str(tmp_path / "pipe.mp4"))
