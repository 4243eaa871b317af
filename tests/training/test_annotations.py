import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from maskstream.errors import ConfigError, SourceOpenError
from maskstream.training.annotations import load_coco_faces


def write(folder: Path) -> Path:
    annotation = {"image_id": 1, "bbox": [10, 20, 30, 40], "keypoints": [25, 45, 2, 32, 35, 2, 18, 35, 2], "mask": "no_mask"}
    hidden = {"image_id": 1, "bbox": [1, 2, 3, 4], "keypoints": [0] * 9, "mask": None, "ignore": 1}
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    path = folder / "faces.json"
    path.write_text(json.dumps({"images": images, "annotations": [annotation, hidden]}))
    cv2.imwrite(str(folder / "a.png"), np.full((100, 100, 3), (255, 0, 0), np.uint8))
    return path


def test_faces_come_with_their_pictures(tmp_path: Path) -> None:
    with_faces, without = load_coco_faces(write(tmp_path), tmp_path)
    face, hidden = with_faces.faces
    assert face.box_xyxy.tolist() == [10, 20, 40, 60]
    assert (face.label, face.ignore) == ("no_mask", False)
    assert face.as_detection().keypoint("left_eye")[0].tolist() == [32, 35]
    assert (hidden.label, hidden.ignore, hidden.keypoints_xy) == (None, True, None)
    with pytest.raises(ValueError, match="without keypoints"):
        hidden.as_detection()
    assert with_faces.read_bgr()[0, 0].tolist() == [255, 0, 0]
    assert without.faces == ()
    with pytest.raises(SourceOpenError, match=r"b\.png: not a readable picture"):
        without.read_bgr()


@pytest.mark.parametrize("content", ["", "{}", '{"images": [], "annotations": [{"image_id": 1}]}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "faces.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"faces\.json: not a COCO keypoints file"):
        load_coco_faces(path, tmp_path)
