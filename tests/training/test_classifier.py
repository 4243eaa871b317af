import json
from dataclasses import replace
from itertools import product
from math import log
from pathlib import Path

import numpy as np
import pytest
import torch

from maskstream.config.loading import Layer
from maskstream.errors import ConfigError, SourceOpenError, WeightsError
from maskstream.io.images import write_image
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.training import classifier
from maskstream.training.classifier import ClassifierTask
from maskstream.training.classifier_metrics import metrics_by_set, metrics_of_logits, metrics_of_probabilities
from maskstream.training.crop_augmentation import augment_crop
from maskstream.training.crop_set import NO_CLASS, CropSet, read_crops
from maskstream.training.crops import centre_crop
from maskstream.training.recipe import ClassifierRecipe
from maskstream.training.run import load_classifier_recipe
from maskstream.types import BACKGROUND
from tests.training.crops import CLASSES, PLAIN, SIZE, STORED, UNCHANGED, crop_set, noise, recipe

CPU = torch.device("cpu")


def task(made: ClassifierRecipe, train: CropSet, val: CropSet | None = None) -> ClassifierTask:
    return ClassifierTask(made, train, val or train, backbone_weights="none")


def write_crops(folder: Path, size_px: int = SIZE, **counts: int) -> Path:
    """Write noise as `make_crops` writes crops: so many into the folder of each class."""
    folder.mkdir(exist_ok=True)
    (folder / "crops.json").write_text(json.dumps({"size_px": size_px}))
    for seed, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(exist_ok=True)
        for index, crop in enumerate(noise(count, seed)):
            write_image(folder / name / f"{index}.png", crop)
    return folder


def test_crops_are_read_with_their_classes(tmp_path: Path) -> None:
    crops = read_crops([write_crops(tmp_path, mask=3, no_mask=2, incorrect=1)], recipe())
    assert crops.pixels_bgr.shape == (6, STORED, STORED, 3)
    assert crops.pixels_bgr.dtype == np.uint8
    assert crops.labels.tolist() == [0, 0, 0, 1, 1, 2]
    assert crops.unreadable == ()
    assert {crop.tobytes() for crop in crops.pixels_bgr[:3]} == {crop.tobytes() for crop in noise(3, 0)}
    assert {crop.tobytes() for crop in crops.pixels_bgr[3:5]} == {crop.tobytes() for crop in noise(2, 1)}


def test_folders_count_as_what_the_recipe_says(tmp_path: Path) -> None:
    made = recipe(classes=["mask", "no_mask"], folders={"mask": "mask", "bare": "no_mask", "incorrect": "no_mask"})
    crops = read_crops([write_crops(tmp_path, mask=2, bare=1, incorrect=2)], made)
    assert crops.labels.tolist() == [0, 0, 1, 1, 1]


def test_a_folder_that_is_not_named_is_left_out(tmp_path: Path) -> None:
    made = recipe(classes=["mask", "no_mask"], folders={"mask": "mask", "no_mask": "no_mask", "incorrect": None})
    crops = read_crops([write_crops(tmp_path, mask=2, no_mask=1, incorrect=3)], made)
    assert crops.labels.tolist() == [0, 0, 1]


def test_the_sum_tells_sets_apart(tmp_path: Path) -> None:
    folder = write_crops(tmp_path, mask=2, no_mask=2)
    before = read_crops([folder], recipe()).sha256
    assert read_crops([folder], recipe()).sha256 == before
    changed = noise(2)[1]
    changed[0, 0, 0] ^= 1
    write_image(folder / "mask" / "1.png", changed)
    assert read_crops([folder], recipe()).sha256 != before


def test_unreadable_crops_are_listed_and_left_out(tmp_path: Path) -> None:
    folder = write_crops(tmp_path, mask=2, no_mask=2)
    (folder / "mask" / "0.png").write_bytes(b"no picture")
    write_image(folder / "no_mask" / "1.png", noise()[0][:-2])
    crops = read_crops([folder], recipe())
    assert crops.labels.tolist() == [0, 1]
    assert len(crops.unreadable) == 2
    assert "0.png: not an image" in crops.unreadable[0]
    assert f"1.png: {STORED}x{STORED - 2}, expected {STORED} px squares" in crops.unreadable[1]


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"size_px": "large"}'], ids=str)
def test_crops_need_a_description(tmp_path: Path, content: str | None) -> None:
    folder = write_crops(tmp_path, mask=1)
    (folder / "crops.json").unlink()
    if content is not None:
        (folder / "crops.json").write_text(content)
    with pytest.raises(SourceOpenError, match=r"no readable crops\.json; make the crops with tools/make_crops\.py"):
        read_crops([folder], recipe())


def test_crops_of_another_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceOpenError, match="crops for 48 px, but size_px of the recipe is 32"):
        read_crops([write_crops(tmp_path, size_px=48, mask=1)], recipe())


@pytest.mark.parametrize("counts", [{}, {"bare": 2}], ids=["nothing", "other folders"])
def test_a_folder_without_crops_is_refused(tmp_path: Path, counts: dict[str, int]) -> None:
    with pytest.raises(SourceOpenError, match="no crops in mask, no_mask, incorrect"):
        read_crops([write_crops(tmp_path, **counts)], recipe())


def test_figures_by_hand() -> None:
    probabilities = np.array(
        [[0.90, 0.05, 0.05], [0.38, 0.35, 0.27], [0.17, 0.50, 0.33], [0.63, 0.27, 0.10], [0.30, 0.60, 0.10]], np.float64
    )
    figures = metrics_of_probabilities(probabilities, np.array([0, 1, 2, 1, 0]), CLASSES)
    assert figures == {
        "log_likelihood": pytest.approx((log(0.9) + log(0.62) + log(0.83) + log(0.37) + log(0.3)) / 5),
        "accuracy": pytest.approx(3 / 5),
        "mask_recall": pytest.approx(1 / 2),
        "no_mask_recall": pytest.approx(2 / 3),  # `incorrect` is no mask
        # Each in a bin of its own but 0.62, which is right, and 0.63, which is wrong.
        "calibration_error": pytest.approx((0.1 + abs(0.62 + 0.63 - 1) + 0.17 + 0.7) / 5),
        "class_accuracy": pytest.approx(1 / 5),  # the second is judged as no mask, with `mask` the likeliest of the classes
    }


def test_background_counts_in_figures_of_its_own_only() -> None:
    faces = np.array([[0.9, 0.05, 0.05], [0.3, 0.4, 0.3], [0.2, 0.1, 0.7]])
    labels = np.array([0, 1, 2])
    among_all = np.concatenate([faces * 0.6, np.full((3, 1), 0.4)], axis=1)
    among_all[2] = [0.08, 0.04, 0.28, 0.6]  # taken for background, and judged rightly as a face
    background = np.array([[0.3, 0.1, 0, 0.6], [0.6, 0.1, 0, 0.3], [0, 0, 0.1, 0.9], [0, 0, 0.2, 0.8]])
    classes = [*CLASSES, "background"]
    figures = metrics_of_probabilities(np.concatenate([among_all, background]), np.array([0, 1, 2, 3, 3, 3, 3]), classes)
    expected = metrics_of_probabilities(faces, labels, CLASSES)
    assert figures == pytest.approx({**expected, "face_recall": 2 / 3, "background_recall": 3 / 4})
    assert metrics_of_probabilities(among_all, labels, classes) == pytest.approx({**expected, "face_recall": 2 / 3})


def test_the_temperature_is_that_of_faces() -> None:
    logits = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    labels = np.random.default_rng(0).integers(0, 4, 60)
    is_face = labels < 3
    figures = metrics_of_logits(logits, labels, [*CLASSES, "background"])
    alone = metrics_of_logits(logits[torch.from_numpy(is_face)][:, :3], labels[is_face], CLASSES)
    assert figures["temperature"] == pytest.approx(alone["temperature"], abs=1e-6)
    assert set(figures) - set(alone) == {"face_recall", "background_recall"}


@pytest.mark.parametrize("exaggerated", [1.0, 5.0, 0.2])
def test_figures_are_given_at_the_temperature_that_fits(exaggerated: float) -> None:
    logits = torch.tensor([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4) * exaggerated
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])  # three of four are right, which is what a probability of 0.75 means
    figures = metrics_of_logits(logits, labels, ["mask", "no_mask"])
    assert figures["temperature"] == pytest.approx(exaggerated / log(3), rel=1e-3)
    assert figures["log_likelihood"] == pytest.approx(0.75 * log(0.75) + 0.25 * log(0.25), abs=1e-5)
    assert figures["calibration_error"] == pytest.approx(0, abs=1e-3)
    names = ("accuracy", "mask_recall", "no_mask_recall", "class_accuracy")
    assert [figures[name] for name in names] == [0.75] * 4


def test_the_place_of_the_mask_among_the_classes_does_not_matter() -> None:
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    labels = np.random.default_rng(0).integers(0, 3, 60)
    turned = [2, 0, 1]
    first = metrics_of_logits(logits, labels, CLASSES)
    second = metrics_of_logits(logits[:, turned], np.argsort(turned)[labels], [CLASSES[index] for index in turned])
    assert second == pytest.approx(first, abs=1e-6)
    assert first["temperature"] > 0


def test_without_changes_a_crop_is_its_middle_or_the_mirror_image() -> None:
    (stored,) = noise()
    straight = centre_crop(stored, SIZE)
    made = [augment_crop(stored, stored, recipe(**PLAIN), np.random.default_rng(seed)) for seed in range(40)]
    mirrored = [np.array_equal(crop, straight[:, ::-1]) for crop in made]
    assert all(is_mirror or np.array_equal(crop, straight) for crop, is_mirror in zip(made, mirrored, strict=True))
    assert 8 < sum(mirrored) < 32


def test_an_augmented_crop_has_the_size_that_the_classifier_sees() -> None:
    (stored,) = noise()
    before = stored.copy()
    made = [augment_crop(stored, stored, recipe(), np.random.default_rng(seed)) for seed in range(60)]
    assert {crop.shape for crop in made} == {(SIZE, SIZE, 3)}
    assert {crop.dtype for crop in made} == {np.dtype(np.uint8)}
    assert len({crop.tobytes() for crop in made}) == 60
    assert np.array_equal(stored, before)
    again = augment_crop(stored, stored, recipe(), np.random.default_rng(7))
    assert np.array_equal(again, made[7])


def test_crops_move_turn_and_grow_as_far_as_the_recipe_says() -> None:
    stored = np.zeros((STORED, STORED, 3), np.uint8)
    stored[17:23, 10:30] = 255  # a bar in the middle

    def bars(**changes: float) -> list[np.ndarray]:
        made = recipe(**{**PLAIN, **changes})
        crops = [augment_crop(stored, stored, made, np.random.default_rng(seed)) for seed in range(100)]
        return [np.argwhere(crop[..., 0] > 127) for crop in crops]

    assert np.ptp([bar.mean(axis=0) for bar in bars()], axis=0).max() == 0
    moved = np.std([bar.mean(axis=0) for bar in bars(jitter_shift=0.05)], axis=0)
    assert moved == pytest.approx(0.05 * SIZE, rel=0.25)
    slopes = [np.polyfit(bar[:, 1], bar[:, 0], 1)[0] for bar in bars(jitter_turn_deg=8.0)]
    assert np.rad2deg(np.std(np.arctan(slopes))) == pytest.approx(8, rel=0.25)
    assert np.std([log(len(bar)) / 2 for bar in bars(jitter_scale=0.1)]) == pytest.approx(0.1, rel=0.3)


@pytest.mark.parametrize("name", UNCHANGED)
def test_each_setting_changes_crops(name: str) -> None:
    (stored,) = noise()
    changed = recipe(**{**PLAIN, name: 10.0 if name == "jitter_turn_deg" else 1.0 if "share" in name else 0.5})
    straight = centre_crop(stored, SIZE)
    made = [augment_crop(stored, stored, changed, np.random.default_rng(seed)) for seed in range(10)]
    assert sum(not any(np.array_equal(crop, plain) for plain in (straight, straight[:, ::-1])) for crop in made) >= 4


def test_a_number_always_gives_the_same_sample() -> None:
    train = crop_set(0, 0, 0, 1, 1, 2)
    first, second = task(recipe(), train), task(recipe(), train)
    samples = [first.sample(number) for number in range(30)]
    for number in reversed(range(30)):
        crop, label = second.sample(number)
        assert label == samples[number][1]
        assert np.array_equal(crop, samples[number][0])
    assert len({crop.tobytes() for crop, _ in samples}) > 25
    other = task(recipe(seed=2), train)
    assert [other.sample(number)[1] for number in range(30)] != [label for _, label in samples]


def test_classes_are_drawn_as_often_as_the_recipe_says_and_from_their_own_crops() -> None:
    drawing = task(recipe(**PLAIN), crop_set(*[0] * 2, *[1] * 20, *[2] * 5, grey=True))  # the mask is rare
    samples = [drawing.sample(number) for number in range(400)]
    counts = np.bincount([label for _, label in samples], minlength=3)
    assert counts / 400 == pytest.approx([0.4, 0.5, 0.1], abs=0.06)
    assert all((crop == 100 * label).all() for crop, label in samples)


def test_masks_and_background_are_recoloured_and_bare_faces_are_not() -> None:
    classes = [*CLASSES, BACKGROUND]
    train = crop_set(0, 1, 3)
    plain, recoloured = (
        task(recipe(**PLAIN, classes=classes, class_shares={"incorrect": 0.0}, recolour_share=share), train) for share in (0, 1)
    )
    originals = {crop.tobytes() for crop, _ in map(plain.sample, range(60))}
    changed = {label: crop.tobytes() not in originals for crop, label in map(recoloured.sample, range(60))}
    assert changed == {0: True, 1: False, 3: True}


def test_every_crop_of_a_class_is_drawn() -> None:
    train = crop_set(0, 1, 1, 1, 1, 2)
    drawing = task(recipe(**PLAIN), train)
    drawn = {crop.tobytes() for crop, label in map(drawing.sample, range(150)) if label == 1}
    seen = {centre_crop(train.pixels_bgr[index], SIZE)[:, ::step].tobytes() for index, step in product(range(1, 5), (1, -1))}
    assert drawn == seen


def test_classes_that_no_share_names_are_drawn_like_others() -> None:
    drawing = task(recipe(**PLAIN, class_shares={"mask": 2.0, "incorrect": 0.0}), crop_set(0, 1, 1))
    counts = np.bincount([drawing.sample(number)[1] for number in range(300)], minlength=3)
    assert counts / 300 == pytest.approx([2 / 3, 1 / 3, 0], abs=0.08)
    assert counts[2] == 0


def test_a_batch_is_what_the_classifier_would_see() -> None:
    building = task(recipe(), crop_set(0, 1, 2))
    samples = [building.sample(number) for number in range(4)]
    crops, labels = building.collate(samples)
    assert crops.shape == (4, 3, SIZE, SIZE)
    assert torch.equal(crops.float() / 255, crops_to_tensor([crop for crop, _ in samples], CPU))
    assert crops[1, 0, 2, 3].item() == samples[1][0][2, 3, 2]  # red comes first
    assert labels.tolist() == [label for _, label in samples]


def test_a_class_without_crops_is_refused() -> None:
    with pytest.raises(ConfigError, match="no crops of the class incorrect"):
        task(recipe(), crop_set(0, 0, 1))


def test_an_unknown_architecture_is_refused() -> None:
    with pytest.raises(ConfigError, match="'vgg' cannot be trained; allowed: mask_resnet18"):
        task(recipe(architecture="vgg"), crop_set(0, 1, 2))


def test_only_the_middle_of_a_validation_crop_is_judged() -> None:
    torch.manual_seed(0)
    val = crop_set(*[0, 1, 2] * 3)
    building = task(recipe(), crop_set(0, 1, 2), val)
    module = building.module.eval()
    items = [7, 2, 5]
    predicted = building.predict(module, items, CPU)
    crops = [centre_crop(val.pixels_bgr[item], SIZE) for item in items]
    with torch.inference_mode():
        expected = module(crops_to_tensor(crops, CPU))
    assert [item for item, _ in predicted] == items
    assert torch.tensor([logits for _, logits in predicted]) == pytest.approx(expected.numpy(), abs=1e-5)
    margin = (STORED - SIZE) // 2
    blank = val.pixels_bgr.copy()
    blank[:, :margin] = blank[:, -margin:] = blank[:, :, :margin] = blank[:, :, -margin:] = 0
    without_margin = task(recipe(), val, replace(val, pixels_bgr=blank))
    assert without_margin.predict(module, items, CPU) == predicted


def test_more_crops_than_one_pass_takes_are_all_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "CHUNK", 4)
    torch.manual_seed(0)
    labels = [index % 3 for index in range(7)]
    building = task(recipe(), crop_set(*labels))
    module = building.module.eval()
    predicted = building.predict(module, building.val_items, CPU)
    assert [item for item, _ in predicted] == list(range(7))
    alone = building.predict(module, [5], CPU)[0]
    assert predicted[5][1] == pytest.approx(alone[1], abs=1e-4)
    figures = building.validate(predicted)
    expected = metrics_of_logits(torch.tensor([logits for _, logits in predicted]), np.array(labels), CLASSES)
    assert figures == expected


def test_labels_follow_the_items_whatever_their_order() -> None:
    building = task(recipe(), crop_set(0, 1, 2, 0))
    right = [(3, [4.0, 0.0, 0.0]), (1, [0.0, 4.0, 0.0]), (0, [4.0, 0.0, 0.0]), (2, [0.0, 0.0, 4.0])]
    assert building.validate(right)["class_accuracy"] == 1


def test_all_parameters_learn_and_only_weights_decay() -> None:
    building = task(recipe(), crop_set(0, 1, 2))
    groups = building.parameter_groups()
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in building.module.parameters())
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    assert decay[id(building.module.network.conv1.weight)] == recipe().weight_decay > 0
    assert decay[id(building.module.network.bn1.weight)] == decay[id(building.module.network.fc.bias)] == 0


@pytest.mark.parametrize("labels", [(0, 0, 0), (1, 2, 1)])
def test_crops_to_judge_by_need_both_answers(labels: tuple[int, ...]) -> None:
    with pytest.raises(SourceOpenError, match="all validation crops have the same answer"):
        task(recipe(), crop_set(0, 1, 2), crop_set(*labels))
    task(recipe(), crop_set(0, 1, 2), crop_set(0, 1))


class Answers(torch.nn.Module):
    """Gives every crop the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor([logits], dtype=torch.float32)

    def forward(self, crops_rgb: torch.Tensor) -> torch.Tensor:
        return self.logits.repeat(len(crops_rgb), 1)


def test_a_teacher_is_followed_as_far_as_the_recipe_says() -> None:
    crops = crop_set(0, 1, 2)
    batch = torch.zeros(4, 3, SIZE, SIZE, dtype=torch.uint8), torch.tensor([0, 1, 2, 0])

    def losses(share: float, *logits: float) -> dict[str, float]:
        made = recipe(teacher_share=share, label_smoothing=0.0)
        taught = ClassifierTask(made, crops, crops, "none", Answers(-9, -9, 9))
        return {name: float(value) for name, value in taught.losses(Answers(*logits), batch, torch.device("cpu")).items()}

    assert losses(0.5, 0, 0, 9)["distillation"] < losses(0.5, 9, 0, 0)["distillation"] / 10
    assert losses(1.0, 9, 0, 0)["cross_entropy"] == 0
    assert losses(0.0, 9, 0, 0)["distillation"] == 0


def test_an_unlabelled_crop_has_only_the_loss_against_the_teacher() -> None:
    taught = ClassifierTask(recipe(), crop_set(0, 1, 2), crop_set(0, 1, 2), "none", Answers(-9, -9, 9))
    crops = torch.zeros(4, 3, SIZE, SIZE, dtype=torch.uint8)

    def losses(*labels: int) -> dict[str, float]:
        batch = crops[: len(labels)], torch.tensor(labels)
        return {name: float(value) for name, value in taught.losses(Answers(3, 0, 0), batch, CPU).items()}

    labelled = losses(1, 1)
    assert losses(1, NO_CLASS)["cross_entropy"] == pytest.approx(labelled["cross_entropy"] / 2)
    assert losses(NO_CLASS, NO_CLASS)["cross_entropy"] == 0
    assert losses(NO_CLASS)["distillation"] == pytest.approx(labelled["distillation"])


def test_unlabelled_crops_are_read_on_request(tmp_path: Path) -> None:
    folder = write_crops(tmp_path, mask=1, unlabelled=2)
    assert read_crops([folder], recipe()).labels.tolist() == [0]
    assert read_crops([folder], recipe(), unlabelled=True).labels.tolist() == [0, NO_CLASS, NO_CLASS]


def test_several_folders_are_read_one_after_another(tmp_path: Path) -> None:
    first, second = write_crops(tmp_path / "a", mask=2, no_mask=1), write_crops(tmp_path / "b", no_mask=2)
    crops = read_crops([first, second], recipe())
    assert crops.labels.tolist() == [0, 0, 1, 1, 1]
    assert [path.relative_to(tmp_path).parts[0] for path in crops.paths] == ["a", "a", "a", "b", "b"]
    assert np.array_equal(crops.pixels_bgr[3:], noise(2))
    with pytest.raises(SourceOpenError, match="c: no crops in mask"):
        read_crops([first, write_crops(tmp_path / "c")], recipe())


def test_each_set_and_each_folder_has_an_accuracy_of_its_own() -> None:
    sets = [*["c1/val/mask/hao_{}.png"] * 30, *["c2/val/no_mask/hao_{}.png"] * 20, *["c2/val/mask/kary_{}.png"] * 19]
    labels = [*[0] * 30, *[1] * 20, *[0] * 19]
    crops = crop_set(*labels, paths=[name.format(index) for index, name in enumerate(sets)])
    logits = torch.zeros(69, 3)
    logits[:24, 0] = logits[24:50, 1] = logits[50:, 0] = 5.0  # six of the first thirty are wrong
    assert metrics_by_set(logits, crops.labels, crops.paths, CLASSES) == {
        "c1": {"accuracy": 24 / 30, "faces": 30},
        "c2": {"accuracy": 1.0, "faces": 39},
        "hao": {"accuracy": 44 / 50, "faces": 50},
    }
    assert set(metrics_by_set(logits[:30], crops.labels[:30], crops.paths[:30], CLASSES)) == {"hao"}


def test_a_set_is_measured_at_the_fitted_temperature() -> None:
    building = task(
        recipe(classes=["mask", "no_mask", "incorrect"]),
        crop_set(*[0] * 20, *[1] * 20, 2, paths=[f"c/val/x/hao_{index}.png" for index in range(41)]),
    )
    answers = list(enumerate([[0.4, 0.0, 0.3]] * 20 + [[0.0, 0.4, 0.3]] * 20 + [[0.0, 0.0, 4.0]]))  # mask is below 0.5
    metrics = building.validate(answers)
    assert building.by_set(answers, metrics)["hao"]["accuracy"] == metrics["accuracy"] == 1.0


def test_folders_of_one_name_are_told_apart_by_their_paths() -> None:
    paths = [f"{'a' if index < 20 else 'b'}/crops/val/mask/hao_{index}.png" for index in range(40)]
    crops = crop_set(*[0] * 40, paths=paths)
    assert set(metrics_by_set(torch.zeros(40, 3), crops.labels, crops.paths, CLASSES)) == {"a/crops", "b/crops", "hao"}


def test_a_patch_is_noise_or_a_part_of_another_crop() -> None:
    stored, other = np.zeros((STORED, STORED, 3), np.uint8), np.full((STORED, STORED, 3), 77, np.uint8)
    made = [augment_crop(stored, other, recipe(**PLAIN, erase_share=1.0), np.random.default_rng(seed)) for seed in range(60)]
    changed = [(crop != 0).any(2) for crop in made]
    assert all(0 < pixels.sum() <= (0.4 * SIZE) ** 2 for pixels in changed)
    from_other = [set(np.unique(crop)) == {0, 77} for crop in made]
    assert 15 < sum(from_other) < 45
    assert not stored.any()
    assert (other == 77).all()


def test_bars_leave_most_of_a_crop_visible() -> None:
    stored = np.full((STORED, STORED, 3), (10, 90, 200), np.uint8)
    made = [augment_crop(stored, stored, recipe(**PLAIN, bars_share=1.0), np.random.default_rng(seed)) for seed in range(60)]
    covered = [(crop != stored[0, 0]).any(2) for crop in made]
    assert all(pixels.any() for pixels in covered)
    assert np.median([pixels.mean() for pixels in covered]) < 0.6
    assert sum(not pixels[: SIZE // 3].any() for pixels in covered) > 15  # only over the lower half
    assert (stored == stored[0, 0]).all()


def test_a_share_of_the_crops_is_rotated_far() -> None:
    stored = np.zeros((STORED, STORED, 3), np.uint8)
    stored[:, STORED // 2 - 1 : STORED // 2 + 1] = 255

    def far(share: float) -> float:
        made = recipe(**PLAIN, large_turn_share=share)
        crops = [augment_crop(stored, stored, made, np.random.default_rng(seed)) for seed in range(100)]
        return sum(crop[0, SIZE // 2 - 4 : SIZE // 2 + 4].max() == 0 for crop in crops) / 100  # the bar's end has left the middle

    assert far(0) == 0
    assert 0.2 < far(0.5) < 0.5


@pytest.mark.parametrize("weights", [{"(": 1.0}, {"^a": -1.0}], ids=str)
def test_wrong_crop_weights_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="crop_weights"):
        load_classifier_recipe(None, [Layer("--set", {"crop_weights": weights})])


def test_validation_crops_have_metrics_of_each_set() -> None:
    crops = crop_set(*[0] * 12, *[1] * 12)
    building = task(recipe(class_shares={"incorrect": 0.0}), crops)
    answers = [(item, [5.0, 0.0, 0.0]) for item in reversed(range(24))]
    assert building.by_set(answers, building.validate(answers)) == {"set": {"accuracy": 0.5, "faces": 24}}


def test_a_last_layer_of_another_number_of_classes_is_not_loaded() -> None:
    two = task(recipe(classes=CLASSES[:2]), crop_set(0, 1))
    three = task(recipe(classes=CLASSES), crop_set(0, 1, 2))
    before = {name: tensor.clone() for name, tensor in three.module.network.state_dict().items()}
    loaded = {name: tensor + 1 for name, tensor in two.module.network.state_dict().items()}
    three.load(loaded, "weights of two classes")
    after = three.module.network.state_dict()
    kept = {name for name in after if torch.equal(after[name], before[name])}
    assert kept == {name for name in after if after[name].shape != loaded[name].shape}
    assert len(kept) == 2
    with pytest.raises(WeightsError, match="weights of two classes"):
        three.load({name: tensor for name, tensor in loaded.items() if name not in kept}, "weights of two classes")
