"""The GPU check, run on the CPU: results, refused options, and messages about missing packages."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from maskstream import MaskPipeline
from maskstream.benchmark import gpu_check, gpu_setup
from maskstream.benchmark.gpu_check import GpuCheckRequest, run_gpu_check
from maskstream.benchmark.gpu_equivalence import COARSE, EXACT, SCALED, agreement, equivalence
from maskstream.benchmark.gpu_memory import buffers, most_that_fit
from maskstream.benchmark.gpu_setup import QUICK, Check, real_images
from maskstream.config.values import Execution
from maskstream.errors import OutOfMemory, SourceOpenError
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.pipeline import build_detector
from maskstream.models import CLASSIFIERS, ClassifierOptions
from maskstream.models.gpu_images import DeviceCutter, Uploads
from maskstream.types import BgrImage, Face, Frame, FrameResult, Label
from tests.conftest import ROOT, make_frame
from tools.gpu_check import main

CPU = torch.device("cpu")
NOT_ON_A_BARE_GPU_MACHINE = (
    *("av", "imutils", "supervision", "trackers", "rich", "scipy", "sklearn", "matplotlib", "openvino", "onnx", "onnxruntime"),
    *("setproctitle", "pycocotools", "jinja2", "paho", "requests"),
)
WITHOUT = """
import runpy, sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {packages!r} else self.finder.find_spec(name, path, target)
sys.meta_path[:] = map(Without, sys.meta_path)
sys.argv = {arguments!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Run:
    code: int
    record: dict[str, Any]
    out: str
    err: str

    def rows(self, section: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.record["sections"][section]["rows"]
        return rows


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All of it, quickly."""
    path = tmp_path_factory.mktemp("gpu") / "gpu.json"
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["--device", "cpu", "--quick", "--json", str(path)])
    return Run(code, json.loads(path.read_text()), out.getvalue(), err.getvalue())


@pytest.mark.slow
def test_everything_that_can_run_here_passes(run: Run) -> None:
    assert (run.code, run.record["passed"]) == (0, True), run.err
    sections = run.record["sections"]
    assert list(sections) == list(gpu_check.sections())
    assert {name for name, found in sections.items() if found.get("passed")} == {"equivalence", "crops", "buffers", "video"}
    assert sections["out_of_memory"]["skipped"] == "the memory of cpu cannot be limited; only CUDA has this setting"
    assert torch.__version__.startswith(run.record["machine"]["versions"]["torch"])
    for name in sections:
        assert f"s: {name}\n" in run.err
        assert f"\n| {name} " in run.out


@pytest.mark.slow
def test_answers_are_compared(run: Run) -> None:
    """On the CPU float32 is compared with itself; bfloat16 gives the same faces in slightly other places."""
    same, also_same, padded, coarse = run.rows("equivalence")
    assert same["faces"] == also_same["faces"] == padded["faces"] == coarse["faces"] >= 6
    assert same["worst_box_px"] == also_same["worst_box_px"] == 0
    assert padded["what"].endswith("padded")
    assert padded["worst_box_px"] < 0.01
    assert 0 < coarse["box_px"] < 2
    assert coarse["box_px"] <= coarse["worst_box_px"] < 10  # bfloat16 has 8 bits: a step is 2.5 px at x = 640 px
    assert (coarse["found"], coarse["not_extra"], coarse["same_label"]) == (1, 1, 1)
    assert 0 < run.record["sections"]["crops"]["mean_grey"] < 1
    (video,) = run.rows("video")
    assert (video["decoder"], video["encoder"], video["frames"]) == ("cpu", "cpu", 150)
    assert min(video["open_ms"], video["decode_ms"], video["encode_ms"]) > 0
    assert run.record["sections"]["buffers"]["faces"] >= 4


@pytest.mark.slow
def test_speeds_have_the_requested_steps(run: Run) -> None:
    timed = {(row["model"], row["what"], row["batch"]) for row in run.rows("speed")}
    assert timed == {
        *(
            (model, what, size)
            for model in ("face_mobilenet 128 px", "coco_resnet50 64 px")
            for what in ("detector", "padded")
            for size in QUICK.batches
        ),
        *(("face_mobilenet 128 px", "and classifier", size) for size in QUICK.batches),
    }
    gflop = run.record["sections"]["speed"]["gflop_per_frame"]
    assert gflop["coco_resnet50"] > 10 * gflop["face_mobilenet"] > 0
    for row in run.rows("speed"):
        assert row["ms_per_frame"] == pytest.approx(1000 / row["fps"], rel=0.6)  # few frames per second are rounded
    assert [(row["faces"], row["found"]) for row in run.rows("faces")] == [(1, 1), (10, 10)] * 2
    assert [row["cameras"] for row in run.rows("camera_batches")] == [1, 2]
    counted = [(row["every"], row["cameras"], row["frames"]) for row in run.rows("cameras")]
    assert counted == [(1, 1, 3), (1, 2, 6), (3, 1, 3), (3, 2, 6)]


@pytest.fixture(scope="module")
def answers(pipeline: MaskPipeline, demo_frames: list[Frame]) -> list[FrameResult]:
    results = [pipeline.analyzer.analyze([frame])[0] for frame in demo_frames[:50:25]]
    assert all(len(result.faces) >= 2 for result in results)
    return results


def with_first_face(results: Sequence[FrameResult], *faces: Face) -> list[FrameResult]:
    """The results with other faces in place of the first one of the first image."""
    return [replace(results[0], faces=(*faces, *results[0].faces[1:])), *results[1:]]


def with_sides_moved(face: Face, *shares: float) -> Face:
    """A face the sides of whose box lie elsewhere by shares of its longer side."""
    side = max(face.face_box_xyxy[2:] - face.face_box_xyxy[:2])
    return replace(face, face_box_xyxy=face.face_box_xyxy + side * np.array(shares, np.float32))


def test_the_same_answers_agree(answers: list[FrameResult]) -> None:
    compared = agreement(answers, answers, 0.15)
    assert compared.failures(EXACT) == []
    assert compared.faces == sum(len(result.faces) for result in answers)
    assert max(compared.worst.values()) == 0


def test_damaged_answers_do_not(answers: list[FrameResult]) -> None:
    first = answers[0].faces[0]
    detection = first.detection
    elsewhere = replace(first, face_box_xyxy=first.face_box_xyxy + 500)
    points = replace(first, detection=replace(detection, keypoints_xy=detection.keypoints_xy + np.float32(20)))
    score = replace(first, detection=replace(detection, score=detection.score - 0.2))
    other = Label.NO_MASK if first.label is Label.MASK else Label.MASK
    probability = replace(first, confidence=(first.confidence or 0) - 0.2)
    for damaged, said in (
        ([with_sides_moved(first, 0, 0, 0, 0.32)], "worst box 0.32"),
        ([with_sides_moved(first, 0.15, 0.15, 0.15, 0.15)], "mean box 0.0"),
        ([points], "mean points 0.0"),
        ([score], "mean score 0.0"),
        ([probability], "mean probability 0.0"),
        ([replace(first, label=other)], "same_label 0."),
        ([], "found 0."),
        ([first, elsewhere], "not_extra 0."),
    ):
        failures = agreement(answers, with_first_face(answers, *damaged), 0.15).failures(COARSE)
        assert any(said in failure for failure in failures), (said, failures)
    nobody = [replace(result, faces=()) for result in answers]
    assert agreement(nobody, nobody, 0.15).failures(COARSE) == ["no face was found in any image"]
    assert agreement(answers, nobody, 0.15).failures(COARSE) == ["found 0.000, at least 0.97 is required"]


def test_a_doubtful_face_may_be_missing(answers: list[FrameResult]) -> None:
    first = answers[0].faces[0]
    doubtful = with_first_face(answers, replace(first, detection=replace(first.detection, score=0.2)))
    assert agreement(doubtful, with_first_face(answers), 0.15).failures(SCALED) == []
    assert agreement(with_first_face(answers), doubtful, 0.15).failures(SCALED) == []


class _RemembersPlaces(Uploads):
    """Keeps the first content of an array."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.copies: dict[int, torch.Tensor] = {}

    def __call__(self, images_bgr: Sequence[BgrImage]) -> list[torch.Tensor]:
        return [self.copies.setdefault(each.ctypes.data, torch.from_numpy(each.copy())) for each in images_bgr]


class _Forgetful(Check):
    def analyzer(self, precision: str = "float32", execution: Execution = "dynamic") -> Analyzer:
        detector = {"short_side": QUICK.short_side, "execution": execution}
        config, uploads = self.config(detector=detector), _RemembersPlaces(CPU)
        classifier = CLASSIFIERS["mask_mobilenet"](ClassifierOptions("cpu", config.clip))
        return Analyzer(build_detector(config, uploads), classifier, config, DeviceCutter(uploads))


@pytest.mark.slow
def test_results_of_an_earlier_content_of_an_array_fail() -> None:
    found = buffers(_Forgetful(CPU, QUICK, real_images(2, None), print, lambda: 1.0))
    assert found["passed"] is False
    assert "dynamic, filling 2: found 0." in found["said"]
    assert "padded, filling 2: found 0." in found["said"]
    assert "filling 1" not in found["said"]


class _Cramped(Analyzer):
    """Has room for so many frames."""

    def __init__(self, room: int) -> None:
        self.room = room

    def analyze(self, frames: Sequence[Frame]) -> list[FrameResult]:
        if len(frames) > self.room:
            raise OutOfMemory("out of memory")
        return []


def test_batches_are_halved_until_they_fit() -> None:
    frames = [make_frame(index) for index in range(16)]
    assert [most_that_fit(_Cramped(room), frames) for room in (16, 15, 5, 1)] == [16, 8, 4, 1]
    with pytest.raises(OutOfMemory, match="one frame alone does not fit"):
        most_that_fit(_Cramped(0), frames)


def test_sections_after_the_budget_are_skipped(tmp_path: Path) -> None:
    path, now_s = tmp_path / "gpu.json", 0.0
    kept: list[list[str]] = []

    def say(what: str) -> None:
        nonlocal now_s
        kept.append(list(json.loads(path.read_text())["sections"]))
        if what.endswith(" crops"):
            now_s = 61

    request = GpuCheckRequest("cpu", json=path, budget_s=60, quick=True, sections=("device", "crops", "speed"))
    record = run_gpu_check(request, say, lambda: now_s)
    assert kept == [[], ["device"], ["device", "crops"]]
    assert record["sections"]["device"]["tflop_per_s"]["float32"] > 0
    assert [record["sections"][name]["skipped"] for name in ("crops", "speed")] == ["the budget is spent (60 s)"] * 2
    assert record["passed"] is True


def test_a_section_that_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(check: Check) -> dict[str, Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    def incomplete(check: Check) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'cv2'", name="cv2.gapi")

    monkeypatch.setattr(gpu_check, "sections", lambda: {"broken": broken, "incomplete": incomplete})
    code = main(["--device", "cpu", "--quick"])
    out, err = capfd.readouterr()
    assert code == 1
    assert "RuntimeError: CUDA error: an illegal memory access was encountered " in out
    assert "skipped: the package cv2 is missing; pip install opencv-python " in out
    assert "Traceback" in err


def test_what_a_section_has_found_before_it_fails_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(check: Check) -> dict[str, Any]:
        check.keep([{"batch": 1, "fps": 100.0}])
        written.append(json.loads(path.read_text())["sections"]["broken"]["rows"])
        raise RuntimeError("CUDA error: unspecified launch failure")

    written: list[Any] = []
    path = tmp_path / "gpu.json"
    monkeypatch.setattr(gpu_check, "sections", lambda: {"broken": broken})
    assert main(["--device", "cpu", "--quick", "--json", str(path)]) == 1
    record = json.loads(path.read_text())
    assert written == [[{"batch": 1, "fps": 100.0}]] == [record["sections"]["broken"]["rows"]]
    assert record["sections"]["broken"]["said"] == "RuntimeError: CUDA error: unspecified launch failure"
    (error,) = record["errors"]
    assert error["what"] == "broken"
    assert 'raise RuntimeError("CUDA error: unspecified launch failure")' in error["traceback"]


def test_what_follows_the_loss_of_a_device_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(check: Check) -> dict[str, Any]:
        first, second = (check.timed(name, fail) for name in ("first", "second"))
        return {"passed": None, "said": f"{first}, {second}"}

    def fail() -> int:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    monkeypatch.setattr(gpu_check, "sections", lambda: {"broken": broken, "whole": lambda check: {"passed": True, "said": ""}})
    request = GpuCheckRequest("cpu", quick=True)
    whole = run_gpu_check(request, lambda _: None)
    assert whole["sections"]["whole"]["passed"] is True
    monkeypatch.setattr(gpu_setup, "answers", lambda device: False)
    sections = run_gpu_check(request, lambda _: None)["sections"]
    failed = {"failed": "AcceleratorError: CUDA error: an illegal memory access was encountered"}
    left_out = {"left_out": "the device has not answered since an error: run this alone"}
    assert sections["broken"]["said"] == f"{failed}, {left_out}"
    assert sections["whole"]["skipped"] == "the device has not answered since an error: run this alone: --section whole"


class _WithoutPadded(Check):
    def analyzer(self, precision: str = "float32", execution: Execution = "dynamic") -> Analyzer:
        if execution == "padded":
            raise RuntimeError("CUDA error: invalid argument")
        return super().analyzer(precision, execution)


@pytest.mark.slow
def test_a_variant_that_fails_does_not_stop_the_others() -> None:
    kept: list[list[Any]] = []
    check = _WithoutPadded(CPU, QUICK, real_images(1, None), print, lambda: 1.0, keep=lambda rows: kept.append(list(rows)))
    found = equivalence(check)
    assert [row["passed"] for row in found["rows"]] == [True, True, False, True]
    assert found["said"] == "float32, no TF32, padded: RuntimeError: CUDA error: invalid argument"
    assert [len(rows) for rows in kept] == [1, 2, 3, 4]
    assert [error["what"] for error in check.errors] == ["equivalence: float32, no TF32, padded"]


def test_a_module_of_ours_that_is_missing_is_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(check: Check) -> dict[str, Any]:
        raise ModuleNotFoundError("No module named 'maskstream.renamed'", name="maskstream.renamed")

    monkeypatch.setattr(gpu_check, "sections", lambda: {"broken": broken})
    with pytest.raises(ModuleNotFoundError, match="renamed"):
        main(["--device", "cpu", "--quick"])


def without(packages: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the tool where packages are missing."""
    script = WITHOUT.format(packages=set(packages), arguments=[str(ROOT / "tools" / "gpu_check.py"), *arguments])
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_missing_package_skips_its_sections() -> None:
    few = ("--device", "cpu", "--quick", "--section", "buffers", "--section", "cameras")
    done = without(NOT_ON_A_BARE_GPU_MACHINE, *few)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(line.startswith("| buffers | passed") for line in lines)
    (cameras,) = [line for line in lines if line.startswith("| cameras")]
    assert re.search(r"skipped: the package (\w+) is missing; pip install \1 ", cameras)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["loguru", "torch"])
def test_a_package_that_the_models_need_ends_it(package: str) -> None:
    done = without([package], "--device", "cpu")
    assert done.returncode == 4
    assert done.stderr == f"the package {package} is missing; pip install {package}; the models need it\n"


def test_images_of_ones_own_are_looked_at_too(tmp_path: Path, face_bgr: BgrImage) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), face_bgr[:200, :300])
    (tmp_path / "notes.txt").write_text("no picture")
    frames = real_images(2, tmp_path)
    assert [(frame.width, frame.height) for frame in frames] == [(640, 360), (640, 360), (300, 200)]
    assert np.array_equal(frames[2].bgr, face_bgr[:200, :300])


def test_without_the_clip_there_are_images_of_ones_own_alone(
    tmp_path: Path, face_bgr: BgrImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_setup, "CLIP", tmp_path / "demo.mp4")
    cv2.imwrite(str(tmp_path / "one.png"), face_bgr)
    assert [frame.width for frame in real_images(2, tmp_path)] == [640]
    with pytest.raises(SourceOpenError, match=r"demo.mp4: does not exist; give --images DIR"):
        real_images(2, None)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--device", "cuda:99"], 2, "device: 'cuda:99' cannot be used here ("),
        (["--device", "cpu", "--section", "colour"], 2, "--section: 'colour' is not known; allowed: device, equivalence, crops"),
        (["--device", "cpu", "--budget", "0"], 2, "--budget: 0 is not allowed; give seconds, more than 0"),
        (["--device", "cpu", "--images", "nowhere"], 3, "--images nowhere: cannot be read: No such file or directory"),
        (["--device", "cpu", "--images", "."], 3, "--images .: no images in it"),
        (["--device", "cpu", "--json", "nowhere/gpu.json"], 5, "nowhere/gpu.json: cannot be written"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str], code: int, said: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    out, err = capfd.readouterr()
    assert err.startswith(said)
    assert (out, err.count("\n")) == ("", 1)


def test_an_option_that_is_not_known_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--fast"])
    assert left.value.code == 2
    assert capfd.readouterr().err.count("\n") == 1
