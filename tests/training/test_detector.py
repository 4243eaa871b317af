from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskstream.annotations import Annotations, ReadOptions, read_annotations
from maskstream.config.loading import load_config
from maskstream.errors import ConfigError, WeightsError
from maskstream.models.face_mobilenet_network import build_module
from maskstream.models.face_mobilenet_widths import SLIM
from maskstream.training.detector import DetectorTask
from maskstream.training.recipe import DetectorRecipe
from maskstream.training.run import load_detector_recipe
from tests.training.images import write_discs
from tests.training.test_distillation import NAMES


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    folder = tmp_path_factory.mktemp("discs") / "discs"
    return read_annotations(folder, write_discs(folder), ReadOptions(load_config().evaluation.labels))


def task(discs: Annotations, **changed: object) -> DetectorTask:
    recipe: DetectorRecipe = load_detector_recipe(None, []).model_copy(update={"window_px": [64, 96, 128], **changed})
    return DetectorTask(recipe, discs, discs, "none")


def test_a_sample_depends_on_its_number_and_the_seed_alone(discs: Annotations) -> None:
    first, again, other = task(discs), task(discs), task(discs, seed=2)
    assert np.array_equal(first.sample(5).bgr, again.sample(5).bgr)
    assert not np.array_equal(first.sample(5).bgr[:64, :64], first.sample(6).bgr[:64, :64])
    assert not np.array_equal(first.sample(5).bgr[:64, :64], other.sample(5).bgr[:64, :64])


@pytest.mark.slow
def test_windows_of_one_batch_have_one_size_and_batches_differ(discs: Annotations) -> None:
    sizes = [
        [task(discs, batch_size=4).sample(number).bgr.shape[0] for number in range(start, start + 4)] for start in range(0, 48, 4)
    ]
    assert all(len(set(batch)) == 1 for batch in sizes)
    assert {batch[0] for batch in sizes} == {64, 96, 128}


def test_images_are_drawn_as_often_as_their_names_say(discs: Annotations) -> None:
    drawn = task(discs, picture_weights={"^[0-3]": 0.0, "^4": 2.0})
    assert drawn._probabilities == pytest.approx(np.array([0, 0, 0, 0, 0.4, 0.2, 0.2, 0.2]))


def test_faces_without_keypoints_are_drawn_more_often(discs: Annotations) -> None:
    faces = [replace(image.faces[0], keypoints_xy=None, ignore=number == 1) for number, image in enumerate(discs.images)]
    changed = [replace(image, faces=(face,)) for image, face in zip(discs.images, faces, strict=True)]
    some = replace(discs, images=(*changed[:2], *discs.images[2:]))
    assert task(some, without_keypoints_weight=3.0)._probabilities == pytest.approx(np.array([0.3] + [0.1] * 7))


def test_frozen_blocks_stay_and_the_others_learn_at_their_rates(discs: Annotations) -> None:
    trained = task(discs, frozen_blocks=4, backbone_lr_factor=0.25, weight_decay=0.1)
    names = {id(parameter): name for name, parameter in trained.module.named_parameters()}
    seen = set()
    for group in trained.parameter_groups():
        for parameter in group["params"]:
            name = names[id(parameter)]
            seen.add(name)
            is_body = name.startswith("backbone.body")
            assert group["lr_factor"] == (0.25 if is_body else 1.0)
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0)
            assert not is_body or int(name.split(".")[2]) >= 4
    assert seen == {name for name, parameter in trained.module.named_parameters() if parameter.requires_grad}
    assert any(name.startswith("backbone.body.4.") for name in seen)


def test_gradients_have_the_memory_layout_of_their_parameters(discs: Annotations) -> None:
    """Where they have not, the processes of a training copy them, and PyTorch warns at each start."""
    trained = task(discs)
    trained.to_device(torch.device("cpu"))
    trained.module.train()
    found = trained.losses(trained.module, trained.collate([trained.sample(number) for number in range(2)]), torch.device("cpu"))
    torch.stack(list(found.values())).sum().backward()  # type: ignore[no-untyped-call]
    learning = [parameter for parameter in trained.module.parameters() if parameter.grad is not None]
    assert len(learning) > 60
    for parameter in learning:
        assert parameter.grad is not None
        assert parameter.grad.stride() == parameter.stride()


def test_losses_are_weighted(discs: Annotations) -> None:
    windows = [task(discs).sample(number) for number in range(2)]

    def losses(**weights: float) -> dict[str, float]:
        torch.manual_seed(0)
        trained = task(discs, loss_weights=weights)
        trained.module.train()
        torch.manual_seed(1)
        found = trained.losses(trained.module, trained.collate(windows), torch.device("cpu"))
        return {name: float(value.detach()) for name, value in found.items()}

    plain, weighted = losses(), losses(loss_keypoint=0.5, loss_box_reg=3.0)
    assert weighted["loss_keypoint"] == pytest.approx(0.5 * plain["loss_keypoint"], rel=1e-4)
    assert weighted["loss_box_reg"] == pytest.approx(3 * plain["loss_box_reg"], rel=1e-4)
    assert weighted["loss_classifier"] == pytest.approx(plain["loss_classifier"], rel=1e-4)


def test_a_relative_learning_rate_is_that_of_the_size_of_each_tensor(discs: Annotations) -> None:
    trained = task(discs, relative_learning_rate=True, backbone_lr_factor=0.5, frozen_blocks=0)
    sizes = {id(each): float(each.detach().square().mean().sqrt()) for each in trained.module.parameters()}
    in_body = {id(each) for each in trained.module.backbone.body.parameters()}
    for group in trained.parameter_groups():
        for parameter in group["params"]:
            size = sizes[id(parameter)] if parameter.ndim > 1 else max(sizes[id(parameter)], 0.05)
            assert group["lr_factor"] == pytest.approx((0.5 if id(parameter) in in_body else 1.0) * size)


def test_weights_of_other_widths_are_loaded_with_their_widths(discs: Annotations) -> None:
    trained = task(discs, frozen_blocks=2)
    torch.manual_seed(5)
    narrow = build_module(SLIM)
    trained.load(narrow.state_dict(), "narrow.safetensors")
    assert all(torch.equal(one, other) for one, other in zip(trained.module.parameters(), narrow.parameters(), strict=True))
    learning = [name for name, parameter in trained.module.backbone.body.named_parameters() if parameter.requires_grad]
    assert min(int(name.split(".")[0]) for name in learning) == 2
    assert trained.module.roi_heads.fg_bg_sampler.batch_size_per_image == trained.recipe.box_samples


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_teacher_has_its_share_of_the_losses_and_the_labels_the_rest(discs: Annotations, share: float) -> None:
    windows = [task(discs).sample(number) for number in range(2)]

    def losses(*, is_taught: bool) -> dict[str, float]:
        torch.manual_seed(0)
        trained = task(discs, teacher_share=share, loss_weights={"teacher_class": 3.0})
        if is_taught:
            trained.learn_from(build_module(SLIM))
        trained.module.train()
        torch.manual_seed(1)
        found = trained.losses(trained.module, trained.collate(windows), torch.device("cpu"))
        return {name: float(value.detach()) for name, value in found.items()}

    plain, taught = losses(is_taught=False), losses(is_taught=True)
    assert taught.keys() - plain.keys() == NAMES
    for name, value in plain.items():
        assert taught[name] == pytest.approx((1 - share) * value, rel=1e-4, abs=1e-6)


def test_an_architecture_that_cannot_be_trained_is_named(discs: Annotations) -> None:
    with pytest.raises(ConfigError, match="architecture: 'coco_resnet50' cannot be trained; allowed: face_mobilenet"):
        task(discs, architecture="coco_resnet50")


def test_a_backbone_of_another_network_is_refused(discs: Annotations, tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"features.0.0.weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match=r"other\.pth: weights of another architecture"):
        DetectorTask(load_detector_recipe(None, []), discs, discs, str(path))
