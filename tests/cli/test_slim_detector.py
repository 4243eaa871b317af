from pathlib import Path

import cv2
import pytest

from maskstream.cli.main import main
from maskstream.models import DETECTORS, DetectorOptions
from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.face_mobilenet_widths import SLIM, Widths
from maskstream.types import BgrImage
from tests.conftest import DEMO, ROOT

SHIPPED = ROOT / "weights" / "face_mobilenet.safetensors"


def frames() -> list[BgrImage]:
    capture, read = cv2.VideoCapture(str(DEMO)), []
    for number in range(0, 200, 40):
        capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        has_frame, bgr = capture.read()
        if has_frame:
            read.append(bgr)
    capture.release()
    return read


@pytest.mark.slow
def test_what_is_written_is_a_narrower_detector_that_finds_faces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, out = tmp_path / "photos", tmp_path / "mine" / "narrow.safetensors"
    photos.mkdir()
    for number, bgr in enumerate(frames()):
        cv2.imwrite(str(photos / f"{number}.png"), bgr)
    given = ["slim-detector", "--weights", str(SHIPPED), "--images", str(photos), "--out", str(out), "--seed", "3"]
    assert main(given) == 0
    assert capsys.readouterr().out.endswith("narrow.safetensors: 4.7 MB of 7.4 MB\n")
    state_dict, metadata = load_checkpoint(out, "face_mobilenet")
    assert Widths.of(state_dict, "written") == SLIM
    assert "slim-detector" in metadata.training_command
    assert metadata.figures == {}
    options = DetectorOptions("cpu", min_score=0.3, max_faces=10, weights=str(out), backend="torch")
    wide = DetectorOptions("cpu", min_score=0.3, max_faces=10, backend="torch")
    narrow_faces, faces = (sum(map(len, DETECTORS["face_mobilenet"](each).detect(frames()))) for each in (options, wide))
    assert faces >= 5
    assert narrow_faces >= 0.5 * faces
    again = ["slim-detector", "--weights", str(out), "--images", str(photos), "--out", str(tmp_path / "same.safetensors")]
    assert main(again) == 0  # the same widths are not smaller


@pytest.mark.parametrize(
    ("images", "said", "code"),
    [
        ("none", "--images: {folder}/none is not a folder with images; give images like those of the training", 3),
        ("", "--images: {folder} is not a folder with images; give images like those of the training", 3),
    ],
)
def test_a_folder_without_images_is_named(
    tmp_path: Path, images: str, said: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "narrow.safetensors"
    given = ["slim-detector", "--weights", str(SHIPPED), "--images", str(tmp_path / images), "--out", str(out)]
    assert main(given) == code
    assert capsys.readouterr().err.splitlines()[-1] == said.format(folder=tmp_path)
    assert not out.exists()
