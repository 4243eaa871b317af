import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskstream.annotations import LabelledImage
from maskstream.errors import SinkError
from maskstream.evaluation.analysis import Journal, analyse
from maskstream.evaluation.predictions import from_record, to_record
from maskstream.types import Frame, FrameResult
from tests.conftest import make_face


class Counting:
    """A system that remembers what it was shown, and fails when it is told to."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.shown: list[str] = []
        self.batches: list[int] = []
        self._fail_at = fail_at

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        if len(self.batches) == self._fail_at:
            raise KeyboardInterrupt
        self.batches.append(len(frames))
        self.shown += [frame.file or "" for frame in frames]
        return [FrameResult(frame.source_id, 0, 0.0, (make_face(score=0.5 + frame.bgr[0, 0, 0] / 1000),)) for frame in frames]


@pytest.fixture
def images(tmp_path: Path) -> list[LabelledImage]:
    made = []
    for index in range(7):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((40, 60, 3), index, np.uint8))
        made.append(LabelledImage(path, path.name, 60, 40, ()))
    return made


def run(system: Counting, images: list[LabelledImage], path: Path, fingerprint: str = "a", batch_size: int = 2) -> Journal:
    with Journal(path, fingerprint) as journal:
        analyse(system, images, journal, batch_size, lambda count: None)
    return journal


def test_each_image_is_analysed_once_in_batches(images: list[LabelledImage], tmp_path: Path) -> None:
    system, ticks = Counting(), []
    with Journal(tmp_path / "journal", "a") as journal:
        progress = analyse(system, images, journal, 3, ticks.append)
    assert system.shown == [f"{index}.png" for index in range(7)]
    assert system.batches == [3, 3, 1]
    assert ticks == [0, 3, 3, 1]
    assert progress.analysed == 7
    assert 0 < progress.system_s <= progress.elapsed_s
    scores = [from_record(record).faces[0].score for record in journal.records.values()]
    assert scores == [round(0.5 + index / 1000, 6) for index in range(7)]


def test_a_killed_run_goes_on_where_it_was(images: list[LabelledImage], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with pytest.raises(KeyboardInterrupt):
        run(Counting(fail_at=2), images, path)
    with path.open("ab") as file:
        file.write(b'{"stamp": [1, 2], "rec')  # torn by the kill
    second = Counting()
    journal = run(second, images, path)
    assert second.shown == ["4.png", "5.png", "6.png"]
    assert set(journal.records) == {image.name for image in images}
    third = Counting()
    run(third, images, path)
    assert third.shown == []


def test_an_image_that_has_changed_is_analysed_again(images: list[LabelledImage], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    run(Counting(), images, path)
    cv2.imwrite(str(images[3].path), np.full((50, 60, 3), 200, np.uint8))
    system = Counting()
    journal = run(system, images, path)
    assert system.shown == ["3.png"]
    assert from_record(journal.records["3.png"]).faces[0].score == 0.7


@pytest.mark.parametrize("content", [b'{"fingerprint": "other"}\n', b"\x00\xff", b"", b"[]\n"])
def test_records_of_another_run_are_not_used(images: list[LabelledImage], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    system = Counting()
    run(system, images, path)
    assert len(system.shown) == 7
    assert json.loads(path.read_text().splitlines()[0]) == {"fingerprint": "a"}


def test_other_settings_start_anew(images: list[LabelledImage], tmp_path: Path) -> None:
    run(Counting(), images, tmp_path / "journal")
    system = Counting()
    run(system, images, tmp_path / "journal", fingerprint="b")
    assert len(system.shown) == 7


def test_an_image_that_cannot_be_decoded_is_listed_and_the_rest_goes_on(images: list[LabelledImage], tmp_path: Path) -> None:
    images[2].path.write_bytes(images[2].path.read_bytes()[:60])
    system = Counting()
    with Journal(tmp_path / "journal", "a") as journal:
        progress = analyse(system, images, journal, 2, lambda count: None)
    assert [name for name, _ in progress.unreadable] == ["2.png"]
    assert "truncated" in progress.unreadable[0][1]
    assert len(journal.records) == progress.analysed == 6


@pytest.mark.parametrize(
    "damage", [b'"faces": 7', b'"FACES": []', b'"faces": [{}]', b'"faces": [], "width": -1', b'"faces": ' + b"[" * 100_000]
)
def test_a_journal_that_was_damaged_goes_on_before_the_damage(images: list[LabelledImage], tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "journal"
    run(Counting(), images, path)
    lines = path.read_bytes().splitlines(keepends=True)
    head = lines[4].partition(b'"faces":')[0]
    path.write_bytes(b"".join([*lines[:4], head + damage + b"}}\n", *lines[5:]]))
    system = Counting()
    run(system, images, path)
    assert len(system.shown) == 7 - 3


def test_a_journal_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"none/journal: cannot be written: No such file"):
        Journal(tmp_path / "none" / "journal", "a")


def test_a_record_keeps_what_matters() -> None:
    face = make_face(box=(1.23456, 2, 30, 40), score=0.123456789)
    read = from_record(json.loads(json.dumps(to_record("a/b.png", 60, 40, (face,)))))
    assert (read.name, read.width, read.height) == ("a/b.png", 60, 40)
    assert read.faces[0].box_xyxy == pytest.approx([1.235, 2, 30, 40])
    assert read.faces[0].score == 0.123457
    assert (read.faces[0].label, read.faces[0].confidence) == (face.label, face.confidence)
    assert read.faces[0].keypoints["left_eye"] == pytest.approx((60, 40, 0.9))


class Deleting(Counting):
    """A system during whose work the file of an image is removed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        self._path.unlink(missing_ok=True)
        return super().analyze(frames)


def test_an_image_that_vanishes_while_it_is_analysed_is_no_fault_of_the_journal(
    images: list[LabelledImage], tmp_path: Path
) -> None:
    with Journal(tmp_path / "journal", "a") as journal:
        progress = analyse(Deleting(images[0].path), images, journal, 1, lambda count: None)
    assert progress.unreadable == []  # its pixels had been read
    assert set(journal.records) == {image.name for image in images}


@pytest.mark.parametrize("analysed_before", [False, True])
def test_an_image_that_has_vanished_is_listed_as_an_image(
    images: list[LabelledImage], tmp_path: Path, analysed_before: bool
) -> None:
    if analysed_before:
        run(Counting(), images, tmp_path / "journal")
    images[3].path.unlink()
    system = Counting()
    with Journal(tmp_path / "journal", "a") as journal:
        progress = analyse(system, images, journal, 2, lambda count: None)
    assert progress.unreadable == [("3.png", "cannot be read: No such file or directory; check the file")]
    assert len(system.shown) == (0 if analysed_before else 6)


def test_an_image_that_is_replaced_while_it_is_analysed_is_analysed_again(images: list[LabelledImage], tmp_path: Path) -> None:
    class Replacing(Counting):
        def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
            cv2.imwrite(str(images[0].path), np.full((40, 60, 3), 200, np.uint8))
            return super().analyze(frames)

    run(Replacing(), images, tmp_path / "journal", batch_size=7)
    again = Counting()
    run(again, images, tmp_path / "journal")
    assert again.shown == ["0.png"]
