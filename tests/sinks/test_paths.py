from pathlib import Path

import pytest

from maskstream.errors import SinkError
from maskstream.files import make_folder
from maskstream.sinks.paths import output_paths, require_folder
from maskstream.types import SourceInfo


def video(path: str, name: str | None = None) -> SourceInfo:
    return SourceInfo(name or path, 64, 48, live=False, path=path)


def camera(name: str) -> SourceInfo:
    return SourceInfo(name, 64, 48, live=True)


def pictures(path: str, count: int, name: str | None = None) -> SourceInfo:
    return SourceInfo(name or path, 64, 48, live=False, path=path, pictures=tuple(f"{path}/{n}.jpg" for n in range(count)))


@pytest.mark.parametrize(
    ("infos", "names"),
    [
        ([video("clips/a.b.mkv")], None),
        ([pictures("photos", 3)], None),
        ([video("clips/a.b.mkv"), camera("0")], ["a.b.mp4", "0.mp4"]),
        ([video("x/a.mp4"), video("y/a.avi"), video("z/A.mov")], ["a.mp4", "a_2.mp4", "A_3.mp4"]),
        ([video("x/a.mp4", "gate"), camera("Dr. Ny's lab / 1.2")], ["gate.mp4", "Dr._Ny_s_lab_1.2.mp4"]),
        ([camera("rtsp://***@cam:554/s?c=1"), camera("///")], ["cam_554_s_c_1.mp4", "camera.mp4"]),
        ([camera("../../etc/passwd"), camera("Gänge")], ["etc_passwd.mp4", "Gänge.mp4"]),
        ([pictures("photos/one", 3), pictures("photo.d.jpg", 1), pictures("one", 2)], ["one", "photo.d.jpg", "one_2"]),
        ([pictures("photos", 3, "photos/*.jpg"), pictures("photos", 3, "photos")], ["photos", "photos_2"]),
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
