"""The tool as users run it, on images of the demo with real models."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import cv2
import pytest

from maskstream import MaskPipeline
from maskstream.io.images import read_image
from maskstream.types import Frame
from tests import command_lines
from tests.command_lines import ROOT, Forked
from tests.models.tiny import BLUE, CLIP_NAME, RED, draw, save_overflowing, save_tiny_clip, save_tiny_yolo
from tests.schemas import validator
from tests.slowness import LONGEST_S
from tests.tools.loading import Main, main_of

TOOL = ROOT / "tools" / "evaluate.py"
VOC = "<annotation><filename>{name}</filename>{objects}</annotation>"
OBJECT = "<object><name>{label}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
FAST = ("--set", "evaluation.bootstrap=50")


@pytest.fixture(scope="module")
def main() -> Main:
    return main_of("evaluate")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, pipeline: MaskPipeline, demo_frames: list[Frame]) -> Path:
    """Four images, labelled with the results of the shipped models; one face has another class, one does not exist."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "labels").mkdir()
    for index, frame in enumerate(demo_frames[:40:10]):
        cv2.imwrite(str(folder / f"shot_{index}.png"), frame.bgr)
        labelled = [(face.label.value, face.face_box_xyxy.tolist()) for face in pipeline(frame.bgr)]
        assert sorted(label for label, _ in labelled) == ["mask", "no_mask", "no_mask"]
        if index == 0:
            labelled = [("con_mascarilla" if label == "no_mask" else label, box) for label, box in labelled]
        if index == 1:
            labelled.append(("no_mask", [5, 5, 45, 60]))
        objects = "".join(OBJECT.format(*box, label=label) for label, box in labelled)
        (folder / "labels" / f"shot_{index}.xml").write_text(VOC.format(name=f"shot_{index}.png", objects=objects))
    return folder


@pytest.fixture(scope="module")
def finished(photos: Path, main: Main, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run over the photos."""
    out = tmp_path_factory.mktemp("run")
    assert main([*given(photos), "--group-by", "shot_([01])", "--out", str(out), *FAST]) == 0
    return out


def given(photos: Path) -> list[str]:
    return ["--images", str(photos), "--labels", str(photos / "labels")]


def metrics_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    validator("metrics").validate(content)
    return content


def test_a_run_counts_faces_and_errors(finished: Path) -> None:
    metrics = metrics_of(finished)
    ours, paper = metrics["one_to_one"]["0.50"], metrics["paper"]["0.50"]
    assert (ours["labelled"], ours["found_faces"], ours["right_faces"], ours["false_faces"]) == (13, 12, 10, 0)
    assert [paper[name] for name in ("tp", "fn", "fp", "tn")] == [4, 2, 0, 6]  # the missed face is not there
    assert {kind: count for kind, count in metrics["mistakes"].items() if count} == {"false_no_mask": 2, "missed": 1}
    assert {name: group["pictures"] for name, group in metrics["groups"].items()} == {"0": 1, "1": 1, "other": 2}
    assert metrics["data"]["names"] == {"no_mask": 7, "mask": 4, "con_mascarilla": 2}
    assert metrics["speed"]["pictures_analysed"] == 4
    assert all(len(digest) == 64 for digest in metrics["system"]["weights"].values())
    assert len(metrics["system"]["weights"]) == 2


def test_a_run_leaves_these_files_and_no_others(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    confusion = {f"confusion_matrix_iou_0.{hundredths:02}.png" for hundredths in range(5, 35, 5)}
    curves = {"metrics_vs_iou.png", "fp_fn_vs_iou.png", "precision_recall.png", "roc.png", "calibration.png"}
    sheets = {"false_no_mask.jpg", "missed.jpg"}
    plain = {"metrics.json", "predictions.json", "mistakes.csv", "counts.npz", "eval_history.json", "report.html"}
    assert names == confusion | curves | sheets | plain
    history = json.loads((finished / "eval_history.json").read_text())
    assert history["eval_data"][9] == [0.5, 4, 2, 0, 6]


def test_files_are_readable_by_their_owner_only(finished: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in finished.rglob("*") if path.is_file()} == {0o600}
    assert any(path.suffix == ".jpg" for path in finished.rglob("*"))


def write_sets(folder: Path, photos: Path, *, more: str = "") -> Path:
    """Two sets of the same images: with their labels, and as images without faces."""
    path = folder / "sets.yaml"
    path.write_text(
        f"- {{name: photos, images: '{photos}', labels: '{photos / 'labels'}', iou: 0.3{more}}}\n"
        f"- {{name: nobody, images: '{photos}', unlabelled: negative}}\n"
    )
    return path


def sets_metrics_of(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "metrics.json").read_text())
    validator("metrics_sets").validate(content)
    return content


@pytest.mark.slow
def test_several_sets_are_one_run_with_one_load_of_the_models(
    photos: Path, main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ["--sets", str(write_sets(tmp_path, photos)), *FAST]
    assert main([*sets, "--out", str(tmp_path / "run"), "--contact-sheets", "1"]) == 0
    said = capsys.readouterr()
    assert said.err.count("face_mobilenet and mask_") == 1
    assert [line.split()[:3] for line in said.out.splitlines() if line[:6] in ("photos", "nobody")] == [
        ["photos", "4", "13"],
        ["nobody", "4", "0"],
    ]
    metrics = sets_metrics_of(tmp_path / "run")
    assert metrics["pictures_analysed"] == 8
    of_photos, nobody = metrics["sets"]["photos"], metrics["sets"]["nobody"]
    assert (of_photos["iou"], nobody["iou"]) == (0.3, 0.5)
    assert (of_photos["at_iou"]["0.50"]["found_faces"], of_photos["at_iou"]["0.50"]["right_faces"]) == (12, 10)
    assert (nobody["at_iou"]["0.30"]["false_per_image"], nobody["map50"]) == (3, None)
    own = metrics_of(tmp_path / "run" / "photos")
    assert own["settings"]["iou"] == 0.3
    assert of_photos["at_iou"]["0.50"]["right"] == own["one_to_one"]["0.50"]["end_to_end_accuracy"]
    assert of_photos["map50"] == own["ap"]["map50"]
    links = re.findall(r'href="([^"]+)"', (tmp_path / "run" / "report.html").read_text())
    assert {"photos/report.html", "photos/missed.jpg", "nobody/false_face.jpg"} <= set(links)
    assert [link for link in links if not link.startswith("data:") and not (tmp_path / "run" / link).is_file()] == []
    assert read_image(str(tmp_path / "run" / "nobody" / "false_face.jpg")).shape[0] < 400  # one row
    assert list((tmp_path / "run").rglob(".*")) == []
    again = ["--out", str(tmp_path / "again"), "--predictions", str(tmp_path / "run")]
    assert main([*sets, *again]) == 0
    assert sets_metrics_of(tmp_path / "again")["sets"] == metrics["sets"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--images", "photos"], "--images is not allowed with --sets; give images for each set in"),
        (["--group-by", "a"], "--group-by is not allowed with --sets"),
        (["--box", "head"], "--box and --unlabelled are not allowed with --sets"),
        (["--predictions", "NONE"], "NONE/photos/predictions.json does not exist; give the --out folder of a run with --sets"),
        (["--set", "evaluation.iou=0.42"], "multiple of 0.05"),
        (["--predicted-box", "head"], "--predicted-box head: heads cannot be turned into faces"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_of_sets_is_one_line(
    photos: Path, main: Main, tmp_path: Path, change: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--sets", str(write_sets(tmp_path, photos)), "--out", str(tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_out_folder_is_needed_for_sets(photos: Path, main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--sets", str(write_sets(tmp_path, photos, more=", iou_: 1"))]) == 2
    assert "set 1: unknown key iou_; did you mean iou?" in capsys.readouterr().err
    assert main(["--sets", str(write_sets(tmp_path, photos))]) == 2
    assert "--out is missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mask_mobilenet", "mask_resnet18"])
def test_a_classifier_that_says_no_numbers_is_counted(
    photos: Path, main: Main, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = save_overflowing(tmp_path / "broken.safetensors", name)
    classifier = ["classifier.backend=torch", f"classifier.name={name}", f"classifier.weights={broken}"]
    asked = [part for setting in classifier for part in ("--set", setting)]
    assert main([*given(photos), "--out", str(tmp_path / "run"), *asked, *FAST]) == 0
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(), parse_constant=pytest.fail)
    records = json.loads((tmp_path / "run" / "predictions.json").read_text(), parse_constant=pytest.fail)["pictures"]
    faces = [face for record in records for face in record["faces"]]
    assert metrics["unusable"] == sum(record["unusable"] for record in records) >= 12
    assert {(face["label"], face["confidence"]) for face in faces} == {("unknown", None)}
    ours = metrics["one_to_one"]["0.50"]
    assert (ours["labelled"], ours["found_faces"], ours["right_faces"]) == (13, 12, 0)
    assert f"{metrics['unusable']} answers of the models have numbers that are not finite" in capsys.readouterr().err


def without_origin(metrics: dict[str, Any]) -> dict[str, Any]:
    changing = ("created_utc", "speed")
    return {name: value for name, value in metrics.items() if name not in changing}


@pytest.mark.slow
def test_its_own_predictions_give_the_same_metrics_without_a_model(
    photos: Path, finished: Path, main: Main, tmp_path: Path
) -> None:
    source = ["--predictions", str(finished / "predictions.json"), "--group-by", "shot_([01])"]
    assert main([*given(photos), *source, "--out", str(tmp_path), *FAST]) == 0
    assert without_origin(metrics_of(tmp_path)) == without_origin(metrics_of(finished))
    assert metrics_of(tmp_path)["speed"] is None


@pytest.mark.slow
def test_records_of_the_stream_give_the_same_counts(photos: Path, finished: Path, main: Main, tmp_path: Path) -> None:
    records = tmp_path / "faces.jsonl"
    command = [sys.executable, str(ROOT / "run_stream.py"), "--source", str(photos), "--jsonl", str(records), "--quiet"]
    done = command_lines.run(command, text=True)
    assert done.returncode == 0, done.stderr
    own = ["--out", str(tmp_path / "out"), "--set", "csv.bom=true"]
    assert main([*given(photos), "--predictions", str(records), *own, *FAST]) == 0
    assert (tmp_path / "out" / "mistakes.csv").read_bytes().startswith(b"\xef\xbb\xbfkind,picture,")
    assert (finished / "mistakes.csv").read_bytes().startswith(b"kind,picture,")
    for name in ("one_to_one", "paper"):
        ours, streamed = (metrics_of(folder)[name]["0.75"] for folder in (finished, tmp_path / "out"))
        assert streamed == ours


@pytest.mark.slow
def test_a_killed_run_and_an_interrupted_one_go_on(photos: Path, tmp_path: Path, main: Main) -> None:
    many = tmp_path / "many"
    many.mkdir()
    count = 100  # so many that none of both ends by itself before it is stopped
    for index in range(count):
        (many / f"{index}.png").symlink_to(photos / f"shot_{index % 4}.png")
    arguments = ["--images", str(many), "--unlabelled", "negative", "--out", str(tmp_path / "out"), *FAST]
    journal = tmp_path / "out" / ".predictions.partial.jsonl"
    killed_at = 6
    with Forked([sys.executable, str(TOOL), *arguments], stderr=subprocess.DEVNULL) as process:
        wait_until_lines(journal, killed_at)
        process.kill()
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:killed_at]))  # however late the kill came
    with Forked([sys.executable, str(TOOL), *arguments], stderr=subprocess.PIPE, text=True) as process:
        wait_until_lines(journal, killed_at + 4)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=LONGEST_S)
    assert process.returncode == 130
    interrupted_at = lines(journal)
    assert f"{killed_at - 1} of {count} images were analysed by an earlier run" in said
    assert "the same command continues from here" in said
    assert interrupted_at < count + 1
    assert main(arguments) == 0
    assert metrics_of(tmp_path / "out")["speed"]["pictures_analysed"] == count + 1 - interrupted_at
    assert metrics_of(tmp_path / "out")["one_to_one"]["0.50"]["false_faces"] == 3 * count
    assert not journal.exists()


@pytest.mark.slow
def test_an_image_that_turns_out_to_be_damaged_is_left_out_and_counted(
    photos: Path, main: Main, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        (tmp_path / f"shot_{index}.png").write_bytes((photos / f"shot_{index}.png").read_bytes()[: [None, 5000][index]])
        (tmp_path / f"shot_{index}.xml").write_bytes((photos / "labels" / f"shot_{index}.xml").read_bytes())
    arguments = ["--images", str(tmp_path), "--labels", str(tmp_path), "--out", str(tmp_path / "out"), *FAST]
    assert main(arguments) == 0
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["data"]["pictures"], metrics["data"]["faces"]) == (1, 3)
    assert metrics["data"]["problems"] == {"unreadable picture": 1}
    assert metrics["one_to_one"]["0.50"]["labelled"] == 3
    assert main([*arguments, "--strict", "--quiet"]) == 3
    assert "shot_1.png: the file is truncated" in capfd.readouterr().err


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_until_lines(path: Path, count: int) -> None:
    until = monotonic() + LONGEST_S
    while lines(path) < count:
        assert monotonic() < until
        sleep(0.02)


def test_runs_are_compared(photos: Path, finished: Path, main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = tmp_path / "worse"
    source = ["--predictions", str(finished / "predictions.json"), "--min-score", "0.9999"]
    assert main([*given(photos), *source, "--out", str(worse), *FAST]) == 0
    capsys.readouterr()
    assert main(["--compare", str(finished), str(worse), "--out", str(tmp_path / "both"), *FAST]) == 0
    comparison = json.loads((tmp_path / "both" / "comparison.json").read_text())
    first, second = comparison["runs"]
    assert first["difference"] is None
    assert second["difference"]["0.50"]["found"]["value"] < 0
    assert (tmp_path / "both" / "comparison.html").stat().st_size > 1000
    assert "worse" in capsys.readouterr().out


@pytest.mark.slow
def test_yolo_on_the_same_images(main: Main, tmp_path: Path) -> None:
    boxes = [((10, 10, 40, 40), RED), ((80, 20, 110, 60), BLUE)]
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for index in range(4):
        cv2.imwrite(str(tmp_path / "images" / f"{index}.png"), draw(96, 128, boxes[index % 2]))
        x1, y1, x2, y2 = boxes[index % 2][0]
        row = f"{index % 2} {(x1 + x2) / 256} {(y1 + y2) / 192} {(x2 - x1) / 128} {(y2 - y1) / 96}\n"
        (tmp_path / "labels" / f"{index}.txt").write_text(row)
    (tmp_path / "labels" / "classes.txt").write_text("mascarilla\nwithout_mask\n")
    weights = save_tiny_yolo(tmp_path / "tiny.pt", names=("mascarilla", "without_mask"))
    sets = [
        "--images",
        str(tmp_path / "images"),
        "--labels",
        str(tmp_path / "labels"),
        "--set",
        "evaluation.labels.mascarilla=mask",
    ]
    assert main([*sets, "--system", "yolo", "--weights", str(weights), "--out", str(tmp_path / "out"), *FAST]) == 0
    metrics = metrics_of(tmp_path / "out")
    assert metrics["one_to_one"]["0.50"]["end_to_end_accuracy"] == 1
    assert metrics["paper"]["0.50"]["tp"] >= 2
    assert metrics["settings"]["min_score"] == 0.25
    assert list(metrics["system"]["weights"]) == ["tiny.pt"]


@pytest.mark.slow
def test_clip_judges_the_faces_that_our_detector_finds(photos: Path, finished: Path, main: Main, tmp_path: Path) -> None:
    weights = save_tiny_clip(tmp_path / "tiny.pt")
    system = ["--system", "clip", "--weights", str(weights), "--set", f"clip.model={CLIP_NAME}"]
    assert main([*given(photos), *system, "--out", str(tmp_path / "out"), *FAST]) == 0
    metrics = metrics_of(tmp_path / "out")
    assert metrics["one_to_one"]["0.50"]["found"] == metrics_of(finished)["one_to_one"]["0.50"]["found"]
    assert "tiny.pt" in metrics["system"]["weights"]
    assert CLIP_NAME in metrics["system"]["description"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (["--images", "NONE"], 3, "NONE: no such"),
        (["--labels", "NONE"], 2, "NONE: no such"),
        (["--format", "coco"], 2, "coco"),
        (["--set", "evaluation.labels={}", "--set", "evaluation.labels.mask=no_mask"], 0, ""),
        (["--set", "evaluation.iou=0.42"], 2, "multiple of 0.05"),
        (["--iou", "7"], 2, "--iou: evaluation.iou: 7.0 is not allowed"),
        (["--min-score", "7"], 2, "--min-score: detector.min_score: 7.0 is not allowed"),
        (["--group-by", "("], 2, "--group-by (: not a regular expression"),
        (["--predictions", "NONE"], 2, "NONE: cannot be read"),
        (["--categories", "mask"], 2, "--categories mask: expected ids and names"),
        (["--system", "yolo"], 2, "--weights is missing"),
        (["--system", "yolo", "--weights", "NONE.pt"], 4, "NONE.pt: no such weights file"),
        (["--predicted-box", "head"], 2, "--predicted-box head: heads cannot be turned into faces"),
        (["--weights", "x.pt"], 2, "--weights is for yolo and clip"),
        (["--compare", "NONE"], 2, "--compare NONE: one run"),
        (["--compare", "NONE", "NONE2"], 2, "NONE: no results of a finished evaluation"),
        (["--out", "shot_0.png/out"], 5, "shot_0.png is a file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_and_its_exit_code(
    photos: Path,
    finished: Path,
    main: Main,
    tmp_path: Path,
    change: list[str],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(photos)
    quick = ["--predictions", str(finished / "predictions.json")] if "yolo" not in change else []
    assert main([*given(photos), *quick, "--out", str(tmp_path / "out"), *FAST, "--quiet", *change]) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == (1 if code else 0)


def test_unknown_names_are_listed_with_advice(
    photos: Path, main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    for path in (photos / "labels").iterdir():
        (labels / path.name).write_text(path.read_text().replace("con_mascarilla", "casque"))
    assert main(["--images", str(photos), "--labels", str(labels), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr().err
    parts = ("not in evaluation.labels: 'casque'", "'no_mask' 7", "'mask' 4", "--set evaluation.labels.casque=mask")
    assert [part for part in parts if part not in said] == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("missing", ["--images", "--labels", "--out"])
def test_missing_options_are_named(photos: Path, main: Main, missing: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*given(photos), "--out", "unused"]
    place = arguments.index(missing)
    assert main([*arguments[:place], *arguments[place + 2 :]]) == 2
    assert f"{missing} is missing" in capsys.readouterr().err
