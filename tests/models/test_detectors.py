from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.detection import keypointrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.keypoint_rcnn import KeypointRCNN
from torchvision.ops import FrozenBatchNorm2d

from maskstream.config.schema import Backend, Config
from maskstream.errors import ModelError, WeightsError
from maskstream.inference.analyzer import Analyzer
from maskstream.models import CLASSIFIERS, DETECTORS, ClassifierOptions, DetectorOptions, coco_resnet50, face_mobilenet
from maskstream.models.keypoint_rcnn import KeypointRCNNDetector, to_rgb_tensor
from maskstream.models.onnx_export import Signature, export
from maskstream.models.runtimes import read_graph
from maskstream.types import COCO_KEYPOINTS, FACE_KEYPOINTS, BgrImage, Frame
from tests.inference.test_analyzer import GivenClassifier
from tests.models.tiny import save_broken

CPU = "cpu"


@pytest.fixture(scope="module")
def detector() -> KeypointRCNNDetector:
    return face_mobilenet.load(DetectorOptions(CPU, min_score=0.7, max_faces=100))


@pytest.fixture(scope="module")
def coco_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state dict of the same names and shapes as COCO_V1: frozen batch norm, so without `num_batches_tracked`."""
    backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None, norm_layer=FrozenBatchNorm2d)
    path = tmp_path_factory.mktemp("coco") / "keypointrcnn.pth"
    torch.save(KeypointRCNN(backbone, num_classes=2, num_keypoints=17).state_dict(), path)
    return path


def test_images_become_rgb_between_0_and_1() -> None:
    bgr = np.zeros((2, 3, 3), np.uint8)
    bgr[0, 1] = (10, 20, 255)
    tensor = to_rgb_tensor(bgr, CPU)
    assert tensor.shape == (3, 2, 3)
    assert tensor[:, 0, 1].tolist() == pytest.approx([1.0, 20 / 255, 10 / 255])


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnx"])
def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, backend: Backend, config: Config) -> None:
    """Such a detector finds nobody: faces that are to be covered would be seen. OpenVINO makes a label of a classifier's NaN."""
    said = r"broken\.safetensors: \S*bias contains NaN or infinity; give other weights"
    broken = str(save_broken(tmp_path / "broken.safetensors", "face_mobilenet"))
    with pytest.raises(WeightsError, match=said):
        face_mobilenet.load(DetectorOptions(CPU, 0.7, 100, weights=broken, backend=backend))
    broken = str(save_broken(tmp_path / "other" / "broken.safetensors", "mask_mobilenet"))
    with pytest.raises(WeightsError, match=said):
        CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip, broken, backend))


def test_an_exported_network_with_a_nan_is_refused_by_openvino(tmp_path: Path) -> None:
    network = torch.nn.Linear(4, 4)
    torch.nn.init.constant_(network.weight, torch.nan)
    signature = Signature(("x",), ("y",), {"x": {0: "rows"}})
    path = tmp_path / "broken.onnx"
    path.write_bytes(export(network.eval(), (torch.zeros(1, 4),), signature))
    with pytest.raises(WeightsError, match=r"broken\.onnx: contains NaN"):
        read_graph(path, "openvino", tmp_path)


def test_features_that_are_no_numbers_are_no_image_without_faces(
    detector: KeypointRCNNDetector, face_bgr: BgrImage, config: Config
) -> None:
    """As where half precision overflows: in one picture of a batch, the others are as they were."""

    def overflowing(levels: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: torch.cat([level[:1], level[1:] * torch.inf]) for name, level in levels.items()}

    expected = detector.detect([face_bgr])[0]
    handle = detector.module.backbone.register_forward_hook(lambda module, given, levels: overflowing(levels))
    fine, broken = Analyzer(detector, GivenClassifier(), config).analyze([Frame(face_bgr, n, "door", 0.0) for n in range(2)])
    handle.remove()
    assert [face.detection.score for face in fine.faces] == [face.score for face in expected]
    assert (fine.unseen, fine.unusable) == (False, 0)
    assert (broken.faces, broken.unseen, broken.unusable) == ((), True, 1)


def test_faces_lie_inside_their_image_with_eyes_above_the_nose(detector: KeypointRCNNDetector, face_bgr: BgrImage) -> None:
    found = detector.detect([face_bgr])[0]
    assert found
    assert [face.score for face in found] == sorted((face.score for face in found), reverse=True)
    height, width = face_bgr.shape[:2]
    for face in found:
        assert face.keypoint_names == FACE_KEYPOINTS
        assert 0 <= face.box_xyxy[0] < face.box_xyxy[2] <= width
        assert 0 <= face.box_xyxy[1] < face.box_xyxy[3] <= height
        assert ((face.keypoint_scores >= 0) & (face.keypoint_scores <= 1)).all()
        (nose, _), (left_eye, _), (right_eye, _) = map(face.keypoint, FACE_KEYPOINTS)
        assert (left_eye[1] + right_eye[1]) / 2 < nose[1]
        assert right_eye[0] < left_eye[0]  # the person's right eye is on the viewer's left


def test_a_batch_of_sizes_gives_what_single_images_give(detector: KeypointRCNNDetector, demo_frames: list[Frame]) -> None:
    images = [demo_frames[0].bgr, np.ascontiguousarray(demo_frames[20].bgr[:, :401]), np.zeros((50, 70, 3), np.uint8)]
    together, alone = detector.detect(images), [detector.detect([image])[0] for image in images]
    assert [len(found) for found in together] == [len(found) for found in alone]
    assert together[2] == []
    for a, b in zip(together[0], alone[0], strict=True):
        assert a.box_xyxy == pytest.approx(b.box_xyxy, abs=1)
        assert a.keypoints_xy == pytest.approx(b.keypoints_xy, abs=2)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (1, 1000), (2000, 1), (37, 41)])
def test_odd_images_are_no_error(detector: KeypointRCNNDetector, size: tuple[int, int]) -> None:
    assert isinstance(detector.detect([np.full((*size, 3), 128, np.uint8)])[0], list)


def test_no_image_is_no_work(detector: KeypointRCNNDetector) -> None:
    assert detector.detect([]) == []


def test_options_are_obeyed(face_bgr: BgrImage) -> None:
    few = face_mobilenet.load(DetectorOptions(CPU, min_score=0.05, max_faces=1, short_side=256))
    assert few._scaling.size_hw(face_bgr) == (256, 455)  # type: ignore[attr-defined]
    assert len(few.detect([face_bgr])[0]) == 1


def test_weights_of_the_classifier_are_refused_as_a_detector(tmp_path: Path) -> None:
    other = face_mobilenet.weights_path(None, "mask_mobilenet.safetensors")
    with pytest.raises(WeightsError, match="contains a 'mask_mobilenet', not a 'face_mobilenet'"):
        face_mobilenet.load(DetectorOptions(CPU, 0.5, 10, weights=str(other)))


def test_every_detector_is_registered_under_its_name() -> None:
    assert set(DETECTORS) == {face_mobilenet.NAME, coco_resnet50.NAME}


@pytest.mark.slow
def test_coco_loads_a_state_dict_of_its_shape_and_runs(coco_file: Path) -> None:
    options = DetectorOptions(CPU, min_score=0.0, max_faces=3, short_side=128, weights=str(coco_file))
    detector = coco_resnet50.load(options)
    found = detector.detect([np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)])[0]
    assert len(found) <= 3
    assert detector.keypoint_names == COCO_KEYPOINTS
    stored = torch.load(coco_file, weights_only=True)
    name = "backbone.fpn.inner_blocks.0.0.weight"  # not among those that batch norm is folded into
    assert torch.equal(detector.module.state_dict()[name], stored[name])
    assert set(stored) <= set(keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None).state_dict())


def test_coco_refuses_what_does_not_fit(tmp_path: Path) -> None:
    options = [DetectorOptions(CPU, 0.5, 10, weights=str(tmp_path / name)) for name in ("none.pth", "text.pth", "other.pth")]
    (tmp_path / "text.pth").write_text("not weights")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    for option, message in zip(options, ["no such weights file", "not a readable PyTorch", "another architecture"], strict=True):
        with pytest.raises(WeightsError, match=message):
            coco_resnet50.load(option)


def test_coco_says_what_to_do_where_it_cannot_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(coco_resnet50, "URL", "http://127.0.0.1:9/models/keypointrcnn-0123abcd.pth")  # nothing listens there
    with pytest.raises(ModelError) as caught:
        coco_resnet50.load(DetectorOptions(CPU, 0.5, 10))
    for part in ("http://127.0.0.1:9/models", "keypointrcnn-0123abcd.pth", str(tmp_path / "checkpoints"), "refused"):
        assert part in str(caught.value)
