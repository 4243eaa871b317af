import cv2
import numpy as np
import pytest
import torch
from torchvision.models.detection import KeypointRCNN

from maskstream.errors import ConfigError
from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.face_mobilenet_network import build_module, restore
from maskstream.models.face_mobilenet_widths import SLIM
from maskstream.training.distillation import DetectorTeacher, pyramid_loss, region_loss, watched
from maskstream.training.rcnn_sampling import set_for_training
from maskstream.training.run import load_detector_recipe
from tests.command_lines import ROOT

NAMES = {
    "teacher_pyramid",
    "teacher_objectness",
    "teacher_proposal",
    "teacher_region",
    "teacher_class",
    "teacher_box",
    "teacher_keypoint",
}


def shipped() -> KeypointRCNN:
    path = ROOT / "weights" / "face_mobilenet.safetensors"
    return restore(*load_checkpoint(path, "face_mobilenet"), str(path))


def frame(number: int) -> torch.Tensor:
    """Return a frame of the demonstration clip, (3, H, W) in [0, 1], in half of its size."""
    capture = cv2.VideoCapture(str(ROOT / "assets" / "demo.mp4"))
    capture.set(cv2.CAP_PROP_POS_FRAMES, number)
    bgr = capture.read()[1]
    capture.release()
    return torch.from_numpy(np.ascontiguousarray(bgr[:352, :608, ::-1])).permute(2, 0, 1).float()[:, ::2, ::2] / 255


def narrow_student() -> KeypointRCNN:
    torch.manual_seed(1)
    student = build_module(SLIM)
    set_for_training(student, load_detector_recipe(None, []))
    return student


def losses(student: KeypointRCNN, teacher: KeypointRCNN) -> dict[str, torch.Tensor]:
    """Return the losses on two parts of the demonstration clip with faces."""
    student.train()
    torch.manual_seed(0)
    images = [frame(number) for number in (0, 60)]
    targets = []
    for image in images:
        with torch.inference_mode():
            found = teacher.eval()([image])[0]
        targets.append({"boxes": found["boxes"][:2], "labels": found["labels"][:2], "keypoints": found["keypoints"][:2]})
    with watched(student) as seen:
        student(images, targets)
    return DetectorTeacher(teacher, student).losses(seen)


def test_a_student_that_is_its_teacher_has_nothing_to_learn() -> None:
    module, student = shipped(), shipped()
    set_for_training(student, load_detector_recipe(None, []))
    found = losses(student, module)
    assert found.keys() == NAMES
    assert all(float(loss.detach()) == pytest.approx(0, abs=2e-3) for loss in found.values())


def test_another_student_has_losses_and_each_of_them_trains_it() -> None:
    student = narrow_student()
    found = losses(student, shipped())
    assert all(float(loss.detach()) > 1e-4 for loss in found.values())
    torch.stack(list(found.values())).sum().backward()
    without = {name for name, parameter in student.named_parameters() if parameter.grad is None}
    assert without == set()


def test_one_step_against_the_gradient_comes_nearer_to_the_teacher() -> None:
    student, teacher = narrow_student(), shipped()
    before = torch.stack(list(losses(student, teacher).values())).sum()
    before.backward()
    with torch.no_grad():
        for parameter in student.parameters():
            parameter -= 1e-4 * parameter.grad / parameter.grad.norm().clamp(min=1e-9)
    after = torch.stack(list(losses(student, teacher).values())).sum()
    assert after < before


def test_a_unit_that_runs_away_behind_equal_answers_is_drawn_back() -> None:
    """A training with these weights diverged: one unit had grown until the smallest step of its weight changed the class."""
    module, student = shipped(), shipped()
    set_for_training(student, load_detector_recipe(None, []))
    heads = student.roi_heads
    unit = int(heads.box_head.fc7.weight.sum(1).argmax())  # one that answers to most regions
    for predictor in (heads.box_predictor.cls_score, heads.box_predictor.bbox_pred):
        predictor.weight.data[:, unit] /= 50
    for parameter in (heads.box_head.fc7.weight, heads.box_head.fc7.bias):
        parameter.data[unit] *= 50
    found = losses(student, module)
    assert float(found["teacher_class"].detach()) == pytest.approx(0, abs=2e-3)
    assert float(found["teacher_region"].detach()) > 0.1
    found["teacher_region"].backward()
    row = heads.box_head.fc7.weight
    assert float((row.grad[unit] * row.detach()[unit]).sum()) > 0  # a step against the gradient makes it smaller


def test_a_batch_without_regions_has_no_error() -> None:
    assert float(region_loss(torch.zeros(0, 4), torch.zeros(0, 4))) == 0


def test_nothing_is_recorded_after_the_block() -> None:
    student = build_module(SLIM).eval()
    with watched(student) as seen, torch.inference_mode():
        student([torch.rand(3, 96, 96)])
    assert "features" in seen
    seen.clear()
    with torch.inference_mode():
        student([torch.rand(3, 96, 96)])
    assert seen == {}


def test_a_pyramid_that_is_a_linear_map_of_the_other_has_no_error() -> None:
    generator = torch.Generator().manual_seed(0)
    own = [torch.randn(2, 5, side, side, generator=generator) for side in (12, 6)]
    decode = torch.randn(9, 5, generator=generator)
    wanted = [torch.einsum("ow,nwhv->nohv", decode, level) for level in own]
    assert float(pyramid_loss(own, wanted)) == pytest.approx(0, abs=1e-4)
    noise = [level + torch.randn(level.shape, generator=generator) * level.std() for level in wanted]
    assert 0.5 < float(pyramid_loss(own, noise)) < 1.5  # half of the energy of each of two levels


def test_a_pyramid_is_compared_in_float32_in_a_training_in_half_precision() -> None:
    """The square of a channel, summed over all cells, is 300,000 here: float16 ends at 65,504."""
    generator = torch.Generator().manual_seed(0)
    own, wanted = ([4 * torch.randn(2, 5, 96, 96, generator=generator)] for _ in range(2))
    expected = float(pyramid_loss(own, wanted))
    with torch.autocast("cpu", torch.float16):
        assert float(pyramid_loss(own, wanted)) == pytest.approx(expected, rel=1e-5)


def test_a_teacher_that_reads_other_images_is_refused() -> None:
    student, teacher = build_module(SLIM), shipped()
    teacher.transform.image_mean = [0.5, 0.5, 0.5]
    with pytest.raises(ConfigError, match=r"--teacher: its mean is \[0.5, 0.5, 0.5\], that of the trained detector"):
        DetectorTeacher(teacher, student)
