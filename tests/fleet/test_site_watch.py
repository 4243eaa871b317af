"""The file of a site and its lists, edited, broken and corrected while somebody watches them."""

from itertools import count
from pathlib import Path

import pytest

from maskstream.config.schema import Config
from maskstream.fleet.site_watch import SiteWatch
from tests.clocks import ManualClock


class Watched:
    """A site with a list, and a watch whose clock the test has."""

    def __init__(self, folder: Path) -> None:
        self.site, self.list, self.other = (folder / name for name in ("site.yaml", "a.yaml", "b.yaml"))
        self.site.write_text("cameras: [a.yaml]")
        self.write(self.list, "gate")
        self.clock = ManualClock()
        self.watch = SiteWatch(self.site, Config(), count(7).__next__, self.clock)

    def write(self, path: Path, *cameras: str) -> None:
        path.write_text("".join(f"- {{name: {name}, url: 'rtsp://camera/{name}'}}\n" for name in cameras))

    def look(self) -> tuple[int, list[str]] | None:
        """Return generation and cameras that are found when it is time for another look."""
        self.clock.advance(1.0)
        site = self.watch.poll()
        return None if site is None else (site.generation, [camera.name for camera in site.cameras])

    def settle(self) -> tuple[int, list[str]] | None:
        return self.look() or self.look()


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_files_that_nobody_edits_are_not_read_again(watched: Watched) -> None:
    assert [watched.look() for _ in range(3)] == [None] * 3


def test_each_accepted_edit_has_the_next_generation(watched: Watched) -> None:
    watched.write(watched.list, "gate", "hall")
    assert watched.settle() == (7, ["gate", "hall"])
    watched.site.write_text("cameras: [a.yaml]\nlease_s: 20")
    assert watched.settle() == (8, ["gate", "hall"])
    assert [watched.look() for _ in range(3)] == [None] * 3


def test_a_list_that_an_edit_adds_is_watched_too(watched: Watched) -> None:
    watched.write(watched.other, "yard")
    watched.site.write_text("cameras: [a.yaml, b.yaml]")
    assert watched.settle() == (7, ["gate", "yard"])
    watched.write(watched.other, "yard", "lab")
    assert watched.settle() == (8, ["gate", "yard", "lab"])


def test_files_that_are_being_written_are_left_alone_until_they_are_still(watched: Watched) -> None:
    found = []
    for number in range(1, 4):
        watched.write(watched.list, *(f"camera {each}" for each in range(number)))
        found.append(watched.look())
    assert found == [None] * 3
    assert watched.look() == (7, ["camera 0", "camera 1", "camera 2"])


@pytest.mark.parametrize("text", ["cameras: [", "cameras: [a.yaml]\nlease_s: 0", "cameras: [c.yaml]", "site: x"])
def test_a_wrong_edit_changes_nothing_and_is_said_once(watched: Watched, said: list[str], text: str) -> None:
    watched.site.write_text(text)
    assert [watched.look() for _ in range(4)] == [None] * 4
    (line,) = said
    assert line.startswith("ERROR ")
    assert line.endswith("; the site is not changed\n")
    watched.site.write_text("cameras: [a.yaml]\nlease_s: 20")
    assert watched.settle() == (7, ["gate"])


def test_a_list_that_was_missing_is_found_when_it_appears(watched: Watched, said: list[str]) -> None:
    watched.site.write_text("cameras: [a.yaml, b.yaml]")
    assert watched.settle() is None
    assert "b.yaml: no such file" in said[0]
    watched.write(watched.other, "yard")
    assert watched.settle() == (7, ["gate", "yard"])
