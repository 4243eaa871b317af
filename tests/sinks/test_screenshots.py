from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import cv2
import pytest
from loguru import logger

from maskstream.io.file_names import plain_name
from maskstream.sinks.screenshots import save_snapshot
from tests.video_files import four_corners

TAKEN = datetime(2026, 1, 2, 3, 4, 5)


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lines.append, format="{level} {message}")
    yield lines
    logger.remove(handler)


def test_colours_are_kept_and_the_folder_is_created(tmp_path: Path, log: list[str]) -> None:
    save_snapshot(four_corners(), tmp_path / "new" / "folder", "camera", TAKEN)
    path = tmp_path / "new" / "folder" / "maskstream-camera-20260102-030405.png"
    assert (cv2.imread(str(path)) == four_corners()).all()
    assert log == [f"INFO saved {path}\n"]


def test_no_file_is_replaced(tmp_path: Path) -> None:
    for _ in range(3):
        save_snapshot(four_corners(), tmp_path, "camera", TAKEN)
    stem = "maskstream-camera-20260102-030405"
    assert sorted(path.stem for path in tmp_path.iterdir()) == [stem, f"{stem}_2", f"{stem}_3"]


@pytest.mark.parametrize(
    ("source_id", "name"),
    [
        ("../../videos/demo clip.mp4", "videos_demo_clip.mp4"),
        ("rtsp://***@cam:554/1?key=***", "cam_554_1_key"),
        ("C:\\videos\\a.mp4", "C_videos_a.mp4"),
        ("вход", "вход"),
        ("0", "0"),
        ("not \udcff text", "not_text"),
        ("Tu\u0308r", "Tür"),
        ("门" * 500, plain_name("门" * 500)),
        ("😀" * 500, plain_name("😀" * 500)),
    ],
)
def test_names_fit_a_file_system(tmp_path: Path, source_id: str, name: str) -> None:
    save_snapshot(four_corners(), tmp_path, source_id, TAKEN)
    assert [path.name for path in tmp_path.iterdir()] == [f"maskstream-{name}-20260102-030405.png"]


def test_a_failure_is_logged(tmp_path: Path, log: list[str]) -> None:
    folder = tmp_path / "file"
    folder.write_text("")
    save_snapshot(four_corners(), folder, "camera", TAKEN)
    assert len(log) == 1
    assert log[0].startswith(f"ERROR {folder}: the frame cannot be saved: ")
