"""A list of cameras that is edited, replaced, broken and deleted while somebody watches it."""

import os
from pathlib import Path

import pytest

from maskstream.config.camera_watch import CameraWatch
from maskstream.config.schema import Config
from tests.clocks import ManualClock


class Watched:
    """A list with a watch whose clock the test has."""

    def __init__(self, folder: Path, config: Config, *names: str) -> None:
        self.clock = ManualClock()
        self.paths = [folder / name for name in names or ("cameras.yaml",)]
        self.write("gate")
        for number, path in enumerate(self.paths[1:]):
            path.write_text(f"- {{name: other {number}, url: clip.mp4}}\n")
        self.watch = CameraWatch(list(map(str, self.paths)), config, self.clock)

    def write(self, *cameras: str) -> None:
        self.paths[0].write_text("".join(f"- {{name: {name}, url: clip.mp4}}\n" for name in cameras))

    def look(self) -> list[str] | None:
        """Return the names that are found when it is time for another look."""
        self.clock.advance(1.0)
        cameras = self.watch.poll()
        return None if cameras is None else [camera.name for camera in cameras]

    def settle(self) -> list[str] | None:
        """Return what is found once nothing is written any more."""
        return self.look() or self.look()


@pytest.fixture
def watched(tmp_path: Path, config: Config) -> Watched:
    return Watched(tmp_path, config)


def test_a_list_that_nobody_edits_is_not_read_again(watched: Watched) -> None:
    assert [watched.look() for _ in range(3)] == [None] * 3


def test_an_edited_list_is_read_once(watched: Watched) -> None:
    watched.write("gate", "hall")
    assert watched.settle() == ["gate", "hall"]
    assert [watched.look() for _ in range(3)] == [None] * 3


def test_it_is_not_looked_at_all_the_time(watched: Watched) -> None:
    watched.write("hall")
    watched.look()
    assert watched.watch.poll() is None
    watched.clock.advance(0.1)
    assert watched.watch.poll() is None


def test_a_list_that_is_being_written_is_left_alone_until_it_is_still(watched: Watched) -> None:
    found = []
    for count in range(1, 5):
        watched.write(*(f"camera {number}" for number in range(count)))
        found.append(watched.look())
    assert found == [None] * 4
    assert watched.look() == [f"camera {number}" for number in range(4)]


def test_another_file_in_its_place_is_noticed_though_it_has_the_same_size_and_time(watched: Watched) -> None:
    (path,) = watched.paths
    stat = path.stat()
    other = path.with_name("other.yaml")
    other.write_text(path.read_text().replace("gate", "hall"))
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    other.replace(path)
    assert watched.settle() == ["hall"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("- {name: gate", "not valid YAML"),
        ("", "not a list of cameras"),
        ("[]", "not a list of cameras"),
        ("- {name: gate, url: 'rtsp://${NOT_SET}@cam'}", "NOT_SET is not set"),
        ("- {name: gate, url: a}\n- {name: gate, url: b}", "given twice"),
        (None, "no such file"),
    ],
)
def test_a_list_that_cannot_be_used_changes_nothing_and_is_said_once(
    watched: Watched, said: list[str], monkeypatch: pytest.MonkeyPatch, text: str | None, cause: str
) -> None:
    monkeypatch.delenv("NOT_SET", raising=False)
    if text is None:
        watched.paths[0].unlink()
    else:
        watched.paths[0].write_text(text)
    assert [watched.look() for _ in range(5)] == [None] * 5
    (line,) = said
    assert line.startswith("ERROR ")
    assert cause in line
    assert line.endswith("; the cameras are not changed\n")
    watched.write("gate", "hall")
    assert watched.settle() == ["gate", "hall"]


def test_what_is_edited_before_the_first_look_is_noticed(tmp_path: Path, config: Config) -> None:
    watched = Watched(tmp_path, config)
    watched.clock.advance(60)  # the models are loaded
    watched.write("hall")
    assert watched.settle() == ["hall"]


def test_a_camera_may_move_from_one_list_to_another(tmp_path: Path, config: Config, said: list[str]) -> None:
    watched = Watched(tmp_path, config, "a.yaml", "b.yaml")
    watched.paths[1].write_text("- {name: gate, url: clip.mp4}\n")
    assert watched.settle() is None
    assert "gate: given twice" in said[0]
    watched.write("another")
    assert watched.settle() == ["another", "gate"]


def test_without_a_list_there_is_nothing_to_watch(config: Config) -> None:
    clock = ManualClock()
    watch = CameraWatch(["clip.mp4", "rtsp://cam/list.yaml"], config, clock)
    clock.advance(10)
    assert watch.poll() is None
