"""Nothing is asked of any network but what the user names, and nothing is written but what the documentation says."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from maskstream import MaskPipeline
from maskstream.io.images import write_image
from maskstream.training.crops import DESCRIPTION, stored_size
from maskstream.types import Frame
from tests.conftest import DEMO, ROOT
from tests.models.tiny import CLIP_NAME, save_tiny_clip, save_tiny_yolo
from tests.outside import in_python, in_the_kernel, read_strace
from tests.tools.test_evaluate import FAST
from tests.tools.test_train_classifier import SHORT, SIZE, SMALL
from tests.training.labelled import annotate
from tests.video_files import every, write_video

CACHES = (".cache/maskstream", ".cache/matplotlib", ".config/matplotlib")
"""What a home that was empty may contain; docs/command-line.md names it."""
RTSP_SERVER = (".cache/gstreamer-1.0",)
"""Of the camera that the fault drill plays."""
RUN = ("run", "--source", str(DEMO), "--max-frames", "8", "--quiet")
LEARN = (
    *("--set", "window_px=[64]", "--set", "batch_size=2", "--set", "samples_per_epoch=4", "--set", "epochs=1"),
    *("--device", "cpu", "--quiet", "--out", "out/trained.safetensors"),
)
LABELLED = ("--images", "photos", "--labels", "photos/val.json", "--device", "cpu", "--quiet")
WEIGHTS = str(ROOT / "weights" / "face_mobilenet.safetensors")
FEW = ("--frames", "3", "--rounds", "1", "--starts", "1", "--set", "detector.short_side=128", "--quiet")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": (
        *(*RUN, "--output", "out/out.mp4", "--jsonl", "out/out.jsonl", "--csv", "out/out.csv"),
        *("--events", "out/events.jsonl", "--summary", "out/summary.json", "--status", "out/status.jsonl"),
    ),
    "run with PyTorch": (
        *RUN,
        "--set",
        "detector.backend=torch",
        "--set",
        "classifier.backend=torch",
        "--jsonl",
        "out/out.jsonl",
    ),
    "run with ONNX": (*RUN, "--set", "detector.backend=onnx", "--set", "classifier.backend=onnx", "--jsonl", "out/out.jsonl"),
    "evaluate": ("evaluate", *LABELLED, "--out", "out", *FAST),
    "evaluate yolo": (
        *("evaluate", *LABELLED, "--out", "out", *FAST, "--system", "yolo", "--weights", "yolo.pt"),
        *("--set", "evaluation.labels.face=ignore"),
    ),
    "evaluate clip": (
        *("evaluate", *LABELLED, "--out", "out", *FAST, "--system", "clip", "--weights", "clip.pt"),
        *("--set", f"clip.model={CLIP_NAME}"),
    ),
    "make-crops": ("make-crops", *LABELLED, "--out", "out/crops"),
    "find-unlabelled": ("find-unlabelled", *LABELLED, "--out", "out/found.json"),
    "train-detector": (
        *("train-detector", "--images", "photos", "--annotations", "photos/val.json", "--val-annotations", "photos/val.json"),
        *(*LEARN, "--init", WEIGHTS),
    ),
    "slim-detector": ("slim-detector", "--weights", WEIGHTS, "--images", "photos", "--out", "out/narrow.safetensors"),
    "train-classifier": (
        *("train-classifier", "--data", "crops", "--out", "out/trained.safetensors", "--device", "cpu", "--quiet"),
        *(*SMALL, *SHORT, "--set", "classes=[mask, no_mask]", "--set", "folders.background=null"),
    ),
    "export to ONNX": ("export", "--weights", WEIGHTS, "--out", "out/out.onnx"),
    "export to OpenVINO": ("export", "--weights", WEIGHTS, "--out", "out/out.xml"),
    "benchmark": (
        "benchmark",
        "--source",
        str(DEMO),
        *FEW,
        "--compare",
        "backends",
        "--compare",
        "yolo",
        "--json",
        "out/out.json",
    ),
    "gpu-check": ("gpu-check", "--device", "cpu", "--quick", "--json", "out/out.json"),
    "measure-people": ("measure-people", "--source", "short.mp4", "--json", "out/out.json", "--device", "cpu"),
    "measure-motion": ("measure-motion", "--source", "short.mp4", "--json", "out/out.json", "--device", "cpu"),
    "fault-drill": ("fault-drill", "--core", "--folder", "out/drill"),
    "completion": ("completion", "bash"),
    "check": ("check", "--source", "short.mp4", "--cameras", "--web", "127.0.0.1:0"),
}
CHILD = """
import sys
sys.path.insert(0, {root!r})
if {name!r} == "evaluate clip":
    import open_clip
    open_clip.add_model_config("{clip}.json")
from maskstream.cli.main import main
sys.exit(main({command!r}))
"""


def strays(home: Path, *allowed: str) -> list[Path]:
    """Return what is in a home that was empty, but for what is documented."""
    documented = [home / folder for folder in (*CACHES, *allowed, "tmp")]
    found = [path for path in home.rglob("*") if path.is_file() or not any(path.iterdir())]
    return [path for path in found if not any(path.is_relative_to(folder) for folder in documented)]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work" / "out").mkdir(parents=True)
    return tmp_path / "work"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_a_run_asks_nobody_and_writes_what_was_asked_for(work: Path, home: Path) -> None:
    seen = in_python([COMMANDS["completion"], COMMANDS["run"]], home, work)
    assert seen.asked == []
    assert seen.strays(work / "out", home) == []
    assert strays(home) == []
    assert {path.name for path in (work / "out").iterdir()} >= {"out.mp4", "out.jsonl", "summary.png"}
    assert work / "out" / "out.jsonl" in seen.written


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, pipeline: MaskPipeline, demo_frames: list[Frame]) -> Path:
    """Return a folder with what the commands read: labelled pictures, crops, and models of others."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "photos").mkdir()
    annotate(pipeline, demo_frames[::25], folder / "photos")
    side = stored_size(SIZE)
    for part in ("train", "val"):
        for number, name in enumerate(("mask", "no_mask")):
            (folder / "crops" / part / name).mkdir(parents=True)
            crop = demo_frames[0].bgr[60 : 60 + side, 100 * number : 100 * number + side]
            write_image(folder / "crops" / part / name / "0.png", crop)
        (folder / "crops" / part / DESCRIPTION).write_text(json.dumps({"size_px": SIZE}))
    save_tiny_yolo(folder / "yolo.pt")
    save_tiny_clip(folder / "clip.pt")
    write_video(folder / "short.mp4", every(0.04, 10))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_asks_anybody_or_writes_anywhere_else(
    name: str, inputs: Path, work: Path, home: Path, system_tool: Callable[[str], str]
) -> None:
    strace = system_tool("strace")
    shutil.copytree(inputs, work, dirs_exist_ok=True)
    code = CHILD.format(root=str(ROOT), name=name, clip=CLIP_NAME, command=list(COMMANDS[name]))
    seen, said = in_the_kernel(strace, [sys.executable, "-c", code], home, work)
    assert seen.asked == [], said
    assert seen.strays(work / "out", home) == [], said
    assert strays(home, *(RTSP_SERVER if name == "fault-drill" else ())) == [], said


def test_whoever_is_asked_is_found_in_a_log_of_strace(tmp_path: Path) -> None:
    log = """
12 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.1.2.3")}, 16) = 0
12 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
13 connect(3, {sa_family=AF_INET6, sin6_port=htons(443), inet_pton(AF_INET6, "2a00::1", &sin6_addr)}, 28 <unfinished ...>
12 openat(AT_FDCWD, "given.txt", O_RDONLY|O_CLOEXEC) = 3
12 openat(AT_FDCWD, "made.txt", O_WRONLY|O_CREAT|O_CLOEXEC, 0666 <unfinished ...>
13 <... connect resumed>) = -1 ENETUNREACH (Network is unreachable)
12 <... openat resumed>) = 3
12 mkdir("/root/there", 0777) = -1 EEXIST (File exists)
12 rename("/tmp/before", "/root/after") = 0
"""
    seen = read_strace(log, tmp_path)
    assert seen.asked == ["10.1.2.3", "2a00::1"]
    assert seen.written == [tmp_path / "made.txt", Path("/root/after")]
    assert seen.strays(tmp_path) == [Path("/root/after")]
