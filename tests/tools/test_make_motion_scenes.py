from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskstream.sources import FileSource
from tests.conftest import DEMO
from tests.tools.loading import main_of


def test_a_face_comes_into_a_scene(tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(60, 200, (6, 8, 3)).astype(np.uint8).repeat(30, 0).repeat(30, 1)
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), photo)
    options = ["--backgrounds", str(tmp_path / "photos"), "--faces", str(DEMO), "--out", str(tmp_path / "out")]
    assert main_of("make_motion_scenes")([*options, "--count", "1", "--seconds", "6.5"]) == 0
    with closing(FileSource(str(tmp_path / "out" / "scene00.mp4"))) as source:
        frames = [frame.bgr.astype(int) for frame in source]
    assert [len(frames), *frames[0].shape] == [65, 720, 960, 3]
    changed = [int((np.abs(after - frames[0]).max(2) > 40).sum()) for after in frames[1:]]
    assert max(changed[:58]) < 50
    assert min(changed[60:]) > 100


def test_without_images_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--backgrounds", str(tmp_path), "--faces", str(DEMO), "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit, match="2"):
        main_of("make_motion_scenes")(options)
    assert "no image in --backgrounds" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
