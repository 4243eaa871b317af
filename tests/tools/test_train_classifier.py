import json
from pathlib import Path

import numpy as np
import pytest

from maskstream.config.loading import load_config
from maskstream.io.images import write_image
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.metadata import read_metadata
from maskstream.training.crops import DESCRIPTION, stored_size
from maskstream.training.run import load_classifier_recipe
from tests.conftest import ROOT
from tests.models.tiny import save_overflowing
from tests.tools.loading import Run, only_line, runner

SIZE = 32
RESNET18 = read_metadata(ROOT / "weights" / "mask_resnet18.safetensors")
SMALL = ("--backbone-weights", "none", "--set", "architecture=mask_resnet18", "--set", f"size_px={SIZE}", "--set", "batch_size=8")
SHORT = ("--set", "epochs=2", "--set", "samples_per_epoch=64", "--set", "photometric=0")
COLOURS = {"mask": (200, 120, 40), "no_mask": (90, 130, 210), "incorrect": (60, 200, 60), "background": (10, 10, 10)}
TWO = ("--set", "classes=[mask, no_mask]", "--set", "folders.background=null")
THREE = (
    "--set",
    "classes=[mask, no_mask, incorrect]",
    "--set",
    "folders.background=null",
    "--set",
    "folders.incorrect=incorrect",
)
FOUR = ("--set", "classes=[mask, no_mask, incorrect, background]", "--set", "folders.incorrect=incorrect")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return crops whose lower half has the colour of their class."""
    folder = tmp_path_factory.mktemp("crops")
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for name, colour in COLOURS.items():
            (folder / part / name).mkdir(parents=True)
            for number in range(10):
                crop = rng.integers(0, 255, (stored_size(SIZE), stored_size(SIZE), 3)).astype(np.uint8)
                crop[stored_size(SIZE) // 2 :] = colour
                write_image(folder / part / name / f"{number}.png", crop)
        (folder / part / DESCRIPTION).write_text(json.dumps({"size_px": SIZE}))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner("train_classifier", capsys)


@pytest.mark.slow
def test_eight_crops_of_each_class_are_learnt_by_heart(run: Run, data: Path) -> None:
    done = run("--data", data, "--dry-run", *SMALL, "--set", "samples_per_epoch=400")
    assert done.returncode == 0, done.stderr
    assert "the dry run succeeded: accuracy on its own training images is 1.000" in done.stderr


@pytest.mark.parametrize(
    ("classes", "asked"),
    [
        pytest.param(["mask", "no_mask", "background"], (), marks=pytest.mark.slow),
        pytest.param(["mask", "no_mask", "incorrect", "background"], FOUR, marks=pytest.mark.slow),
        pytest.param(["mask", "no_mask"], TWO, marks=pytest.mark.slow),
    ],
)
def test_what_was_trained_is_a_classifier_of_ours(
    run: Run, data: Path, tmp_path: Path, classes: list[str], asked: tuple[str, ...]
) -> None:
    out = tmp_path / "mine.safetensors"
    done = run("--data", data, "--out", out, *SMALL, *SHORT, *asked)
    assert done.returncode == 0, done.stderr
    classifier = CLASSIFIERS["mask_resnet18"](ClassifierOptions("cpu", load_config().clip, str(out)))
    assert list(classifier.class_names) == classes
    assert classifier.input_size_px == SIZE
    checked = run("--data", data, "--check", out, *SMALL, *asked)
    assert checked.returncode == 0, checked.stderr
    history = json.loads((tmp_path / "mine.history.json").read_text())["epochs"]
    best = max(history, key=lambda entry: entry["figures"]["log_likelihood"])["figures"]
    checked_figure = float(checked.stdout.split("log_likelihood ")[1].split()[0])
    assert checked_figure == pytest.approx(best["log_likelihood"], abs=0.01)  # the accuracy of so few crops jumps by 1/20


@pytest.fixture(scope="module")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return unlabelled training crops of all classes, without validation crops."""
    folder = tmp_path_factory.mktemp("more")
    rng = np.random.default_rng(1)
    (folder / "train" / "unlabelled").mkdir(parents=True)
    for number in range(60):
        crop = rng.integers(0, 255, (stored_size(SIZE), stored_size(SIZE), 3)).astype(np.uint8)
        crop[stored_size(SIZE) // 2 :] = list(COLOURS.values())[number % 4]
        write_image(folder / "train" / "unlabelled" / f"{number}.png", crop)
    (folder / "train" / DESCRIPTION).write_text(json.dumps({"size_px": SIZE}))
    return folder


@pytest.mark.slow
def test_a_student_learns_from_unlabelled_crops_what_its_teacher_knows(
    run: Run, data: Path, unlabelled: Path, tmp_path: Path
) -> None:
    teacher, student = tmp_path / "teacher.safetensors", tmp_path / "student.safetensors"
    plain = ("--set", "photometric=0", "--set", "small_share=0", "--set", "warmup_steps=5", "--set", "dark_share=0")
    longer = ("--set", "epochs=1", "--set", "samples_per_epoch=240", "--set", "ema_decay=0", *plain)
    taught = run("--data", data, "--out", teacher, *SMALL, *longer, *FOUR)
    assert taught.returncode == 0, taught.stderr
    shares = [*(f"class_shares.{name}=0" for name in COLOURS), "class_shares.unlabelled=1", "teacher_share=1"]
    only_unlabelled = [argument for share in shares for argument in ("--set", share)]
    done = run("--data", data, unlabelled, "--teacher", teacher, "--out", student, *SMALL, *longer, *FOUR, *only_unlabelled)
    assert done.returncode == 0, done.stderr
    assert "100 training crops, 60 of them unlabelled; 40 validation crops" in done.stderr
    last = json.loads(student.with_suffix(".history.json").read_text())["epochs"][-1]
    assert last["losses"]["cross_entropy"] == 0
    assert last["figures"]["class_accuracy"] > 0.9  # the student has never seen a label


def test_unlabelled_crops_are_not_read_without_a_teacher(run: Run, unlabelled: Path, tmp_path: Path) -> None:
    share = ("--set", "class_shares.unlabelled=1")
    done = run("--data", unlabelled, "--out", tmp_path / "x.safetensors", *SMALL, *share)
    assert done.returncode == 3
    assert f"{unlabelled / 'train'}: no crops in mask, no_mask, incorrect, background" in only_line(done)


def test_weights_that_say_no_numbers_are_not_judged(run: Run, data: Path, tmp_path: Path) -> None:
    broken = save_overflowing(tmp_path / "broken.safetensors", "mask_resnet18")
    done = run("--data", data, "--check", broken, *SMALL, *(FOUR if "background" in RESNET18.class_names else THREE))
    assert done.returncode == 4
    assert "broken.safetensors: gives NaN for" in done.stderr


def test_weights_of_other_classes_cannot_be_checked(run: Run, data: Path) -> None:
    done = run("--data", data, "--check", ROOT / "weights" / "mask_resnet18.safetensors", *SMALL, *TWO)
    assert done.returncode == 2
    assert f"has the classes {', '.join(RESNET18.class_names)}, the recipe has mask, no_mask" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_crops_that_cannot_be_read_are_listed_or_refused(run: Run, data: Path, tmp_path: Path) -> None:
    bad = data / "train" / "mask" / "bad.png"
    bad.write_bytes(b"no picture")
    try:
        lenient = run("--data", data, "--out", tmp_path / "mine.safetensors", *SMALL, *SHORT)
        strict = run("--data", data, "--dry-run", "--strict", *SMALL)
    finally:
        bad.unlink()
    assert lenient.returncode == 0, lenient.stderr
    assert "bad.png: not an image" in lenient.stderr
    assert strict.returncode == 3
    assert "bad.png" in strict.stderr


def test_a_training_that_diverges_is_no_success(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    done = run("--data", data, "--out", out, *SMALL, *SHORT, "--set", "learning_rate=1.0e+30", "--set", "warmup_steps=0")
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith(
        "training has diverged in epoch 1, step 2: the gradient is not finite (cross_entropy nan)"
    )
    assert not done.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "--out is missing; see --help"),
        (("--out", "x.safetensors"), 2, "--data is missing; see --help"),
        (
            ("--out", "x.safetensors", "--data", "none"),
            3,
            "none/train: no readable crops.json; make the crops with tools/make_crops.py",
        ),
        (("--out", "x.safetensors", "--data", "none", "--set", "classes=[mask]"), 2, "classes"),
        (
            ("--out", "x.safetensors", "--data", "none", "--set", "classes=[background, mask, no_mask, incorrect]"),
            2,
            "background must be the last",
        ),
    ],
)
def test_wrong_options_are_one_line(run: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = run(*arguments)
    assert done.returncode == code
    assert message in only_line(done)


def test_the_recipe_that_is_shipped_can_be_read() -> None:
    assert load_classifier_recipe(None, []).epochs == 25
