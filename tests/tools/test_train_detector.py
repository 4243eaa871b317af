import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from maskstream.io.images import read_image
from maskstream.models import DETECTORS, DetectorOptions
from maskstream.models.checkpoint import load_checkpoint, save_checkpoint
from maskstream.models.face_mobilenet_network import build_module
from maskstream.models.face_mobilenet_widths import SLIM, Widths
from maskstream.models.metadata import read_metadata
from maskstream.vision.geometry import box_iou
from tests import command_lines
from tests.command_lines import ROOT
from tests.tools.loading import Run, only_line, runner
from tests.training.images import write_discs

SHIPPED = ROOT / "weights" / "face_mobilenet.safetensors"
SMALL = ("--set", "window_px=[64]", "--set", "batch_size=2", "--set", "samples_per_epoch=4", "--set", "epochs=2")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner("train_detector", capsys)


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("discs") / "discs"
    write_discs(folder)
    return folder


def data(discs: Path) -> list[str | Path]:
    labels = discs.with_suffix(".json")
    return ["--images", discs, "--annotations", labels, "--val-annotations", labels]


@pytest.mark.slow
def test_eight_images_of_what_was_never_seen_are_learnt_by_heart(run: Run, discs: Path, tmp_path: Path) -> None:
    options = DetectorOptions("cpu", min_score=0.05, max_faces=10)
    before = DETECTORS["face_mobilenet"](options).detect([read_image(str(path)) for path in sorted(discs.iterdir())])
    first = json.loads(discs.with_suffix(".json").read_text())["annotations"][0]["bbox"]
    label = np.array([[first[0], first[1], first[0] + first[2], first[1] + first[3]]], np.float32)
    assert all(box_iou(found.box_xyxy[None], label)[0, 0] < 0.5 for found in before[0] if found.score > 0.5)
    quick = ("--set", "samples_per_epoch=128", "--set", "window_px=[256]", "--set", "zoom=[1.2, 1.3]")
    done = run("--images", discs, "--annotations", discs.with_suffix(".json"), "--init", SHIPPED, "--dry-run", *quick)
    assert done.returncode == 0, done.stderr
    assert "the dry run succeeded: ap50 on its own training images is" in done.stderr
    assert float(done.stdout.split()[1]) > 0.9


@pytest.mark.slow
def test_a_dry_run_that_learns_nothing_says_so(run: Run, discs: Path) -> None:
    dry = ("--backbone-weights", "none", "--dry-run", *SMALL, "--set", "epochs=1")
    done = run("--images", discs, "--annotations", discs.with_suffix(".json"), *dry)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("the dry run failed: ap50 on its own training images is 0.")


@pytest.mark.slow
def test_what_was_trained_is_a_detector_of_ours(run: Run, discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights" / "mine.safetensors"
    tool = [sys.executable, ROOT / "tools" / "train_detector.py", "--device", "cpu"]
    command = [*tool, *data(discs), "--out", out, "--init", SHIPPED, *SMALL]
    done = command_lines.run(command, text=True)
    assert done.returncode == 0, done.stderr
    assert "epoch 2:" in done.stderr
    with safe_open(out, framework="pt") as file:
        metadata = file.metadata()
    assert json.loads(metadata["architecture"]) == "face_mobilenet"
    assert "tools/train_detector.py" in json.loads(metadata["training_command"])
    assert len(json.loads(metadata["data_manifest_sha256"])) == 64
    assert json.loads(metadata["figures"]).keys() >= {"ap50", "found_50", "false_per_picture"}
    assert json.loads((out.parent / "mine.history.json").read_text())["epochs"][1]["epoch"] == 2
    assert (out.parent / "mine.curves.png").exists()
    DETECTORS["face_mobilenet"](DetectorOptions("cpu", 0.5, 10, weights=str(out)))
    again = run(*data(discs), "--out", out, "--init", SHIPPED, *SMALL)
    assert "resuming from step 4 of 4" in again.stderr


@pytest.mark.slow
def test_a_narrower_detector_learns_from_the_one_that_it_was_made_of(run: Run, discs: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    narrow = build_module(SLIM)
    start, out = tmp_path / "narrow.safetensors", tmp_path / "mine.safetensors"
    save_checkpoint(start, narrow.state_dict(), read_metadata(SHIPPED))
    taught = ("--init", start, "--teacher", SHIPPED, "--set", "relative_learning_rate=true", *SMALL)
    done = run(*data(discs), "--out", out, *taught)
    assert done.returncode == 0, done.stderr
    state_dict, _ = load_checkpoint(out, "face_mobilenet")
    assert Widths.of(state_dict, "out") == SLIM
    history = json.loads(out.with_suffix(".history.json").read_text())["epochs"]
    assert history[0]["losses"]["teacher_pyramid"] > 0
    assert history[0]["losses"]["loss_classifier"] == 0
    other = run(*data(discs), "--out", out, "--init", start, "--teacher", start, "--set", "relative_learning_rate=true", *SMALL)
    assert (other.returncode, "state of another recipe or other data" in other.stderr) == (4, True)


def test_a_training_that_diverges_is_no_success(run: Run, discs: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.safetensors"
    wild = ("--set", "learning_rate=1.0e+30", "--set", "warmup_steps=0")
    done = run(*data(discs), "--out", out, "--init", SHIPPED, *SMALL, *wild)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1].startswith("training has diverged in epoch 1, step 2: ")
    assert not done.stdout
    assert not out.exists()


@pytest.mark.parametrize(
    ("images", "setting", "code", "message"),
    [
        ([], (), 3, "no face is labelled in the validation images; give --val-annotations with labelled faces"),
        (None, ("--set", "picture_weights={'.': 0}"), 2, "picture_weights: all training images have the weight 0"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(
    run: Run, discs: Path, tmp_path: Path, images: list[object] | None, setting: tuple[str, ...], code: int, message: str
) -> None:
    labels = json.loads(discs.with_suffix(".json").read_text())
    if images is not None:
        labels["annotations"] = images
    (tmp_path / "val.json").write_text(json.dumps(labels))
    chosen = ("--images", discs, "--annotations", discs.with_suffix(".json"), "--val-annotations", tmp_path / "val.json")
    done = run(*chosen, "--out", tmp_path / "mine.safetensors", "--init", SHIPPED, *SMALL, *setting)
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(message)


@pytest.mark.slow
def test_broken_images_are_listed_and_left_out_or_refused(run: Run, discs: Path, tmp_path: Path) -> None:
    labels = write_discs(tmp_path / "discs")
    broken = tmp_path / "discs" / "3.png"
    broken.write_bytes(broken.read_bytes()[:-400])
    given = ("--images", labels.with_suffix(""), "--annotations", labels, "--val-annotations", discs.with_suffix(".json"))
    wanted = (*given, "--out", tmp_path / "mine.safetensors", "--init", SHIPPED, *SMALL)
    lenient = run(*wanted, "--set", "epochs=1")
    assert lenient.returncode == 0, lenient.stderr
    assert "3.png: the file is truncated; copy it again; left out" in lenient.stderr
    assert "discs.json: 7 images" in lenient.stderr
    strict = run(*wanted, "--strict", "--run", tmp_path / "other")
    assert strict.returncode == 3
    assert "3.png" in strict.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "--out is missing; see --help"),
        (("--out", "x.safetensors"), 2, "--images is missing; see --help"),
        (
            ("--out", "x.safetensors", "--set", "epoch=3"),
            2,
            "--set epoch: unknown key epoch; did you mean epochs? allowed here: architecture, ",
        ),
        (("--out", "x.safetensors", "--set", "epochs=0"), 2, "--set epochs: epochs: 0 is not allowed"),
    ],
)
def test_wrong_options_are_one_line(run: Run, discs: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    images = data(discs) if "--set" in arguments else []
    done = run(*arguments, *images)
    assert done.returncode == code
    assert message in only_line(done)


def test_a_missing_backbone_is_one_line(run: Run, discs: Path, tmp_path: Path) -> None:
    done = run(*data(discs), "--out", tmp_path / "x.safetensors", "--backbone-weights", tmp_path / "none.pth")
    assert done.returncode == 4
    assert "none.pth: no such weights file" in done.stderr.splitlines()[-1]
