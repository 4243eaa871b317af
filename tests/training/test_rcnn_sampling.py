import pytest
import torch
from torchvision.models.detection import KeypointRCNN

from maskstream.models import face_mobilenet_network
from maskstream.training.rcnn_sampling import IGNORED, set_for_training
from maskstream.training.run import load_detector_recipe

FACE = torch.tensor([[20.0, 20, 60, 70]])
TINY = torch.tensor([[80.0, 80, 90, 92]])
POINTS = torch.tensor([[[40.0, 50, 1], [50, 38, 1], [30, 38, 1]]])


@pytest.fixture(scope="module")
def module() -> KeypointRCNN:
    torch.manual_seed(0)
    module = face_mobilenet_network.build_module()
    set_for_training(module, load_detector_recipe(None, []))
    return module.train()


def losses(module: KeypointRCNN, boxes: torch.Tensor, labels: list[int], points: torch.Tensor) -> dict[str, float]:
    torch.manual_seed(0)
    target = {"boxes": boxes, "labels": torch.tensor(labels, dtype=torch.int64), "keypoints": points}
    return {name: float(value.detach()) for name, value in module([torch.rand(3, 128, 128)], [target]).items()}


def test_an_ignored_face_is_no_positive_anchor_and_no_negative_one(module: KeypointRCNN) -> None:
    anchors = torch.cat([FACE + 1, TINY, TINY + 1, FACE + 40])
    target = {"boxes": torch.cat([FACE, TINY]), "labels": torch.tensor([1, IGNORED])}
    labels, boxes = module.rpn.assign_targets_to_anchors([anchors], [target])
    assert labels[0].tolist() == [1, -1, -1, 0]
    assert boxes[0][0].tolist() == FACE[0].tolist()


def test_an_ignored_face_is_no_positive_proposal_and_no_negative_one(module: KeypointRCNN) -> None:
    proposals = torch.cat([FACE + 1, TINY, TINY + 3, FACE + 40])
    _, labels = module.roi_heads.assign_targets_to_proposals([proposals], [torch.cat([FACE, TINY])], [torch.tensor([1, IGNORED])])
    assert labels[0].tolist() == [1, IGNORED, IGNORED, 0]


def test_without_the_mark_the_same_anchors_count(module: KeypointRCNN) -> None:
    anchors = torch.cat([TINY, FACE + 40])
    labels, _ = module.rpn.assign_targets_to_anchors([anchors], [{"boxes": TINY, "labels": torch.tensor([1])}])
    assert labels[0].tolist() == [1, 0]


def test_a_face_without_keypoints_trains_the_box_alone(module: KeypointRCNN) -> None:
    with_points = losses(module, FACE, [1], POINTS)
    without = losses(module, FACE, [1], torch.zeros_like(POINTS))
    assert with_points["loss_keypoint"] > 0
    assert without["loss_keypoint"] == 0
    assert without["loss_box_reg"] == pytest.approx(with_points["loss_box_reg"])
    assert without["loss_box_reg"] > 0


@pytest.mark.parametrize("labels", [[], [IGNORED]])
def test_an_image_without_faces_teaches_what_is_none(module: KeypointRCNN, labels: list[int]) -> None:
    found = losses(module, TINY[: len(labels)], labels, POINTS[: len(labels)] * 0)
    assert found["loss_classifier"] > 0
    assert found["loss_objectness"] > 0
    assert found["loss_box_reg"] == found["loss_keypoint"] == found["loss_rpn_box_reg"] == 0


def test_windows_are_not_scaled_in_training_and_are_in_use(module: KeypointRCNN) -> None:
    images = [torch.rand(3, 100, 130)]
    assert module.transform(images)[0].image_sizes == [(100, 130)]
    module.eval()
    assert module.transform(images)[0].image_sizes == [(384, 499)]
    module.train()
