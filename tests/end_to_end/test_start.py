"""How soon the program starts: without PyTorch wherever it is not needed, and with the same answers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import DEMO, ROOT
from tests.models.tiny import save_resnet
from tests.slowness import LONGEST_S
from tools import export as export_tool

_RUN = "import sys; sys.path.insert(0, sys.argv.pop(1)); import run_stream; code = run_stream.main(); "
_LIGHT = "import argparse, cv2, av, pydantic, yaml, loguru, rich.console"
"""What a mistake in an option or a path takes."""


def child(code: str, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    asked = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(asked, capture_output=True, text=True, timeout=LONGEST_S, check=False)


def test_the_main_job_needs_neither_pytorch_nor_a_web_server(tmp_path: Path) -> None:
    heavy = "'torch', 'torchvision', 'onnxruntime', 'onnx', 'starlette', 'uvicorn', 'websockets', 'prometheus_client', 'ruamel'"
    report = f"print(code, sorted({{{heavy}}} & set(sys.modules)))"
    outputs = ("--output", tmp_path / "out.mp4", "--jsonl", tmp_path / "out.jsonl", "--summary", tmp_path / "out.json")
    done = child(_RUN + report, ROOT, "--source", DEMO, "--max-frames", "20", "--quiet", *outputs)
    assert done.stdout.splitlines()[-1:] == ["0 []"], done.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 20


@pytest.mark.slow
def test_a_resnet_of_four_classes_needs_no_pytorch_where_its_graph_lies_beside_it(tmp_path: Path) -> None:
    weights = save_resnet(tmp_path / "mask_resnet18.safetensors")
    assert export_tool.main(["--weights", str(weights)]) == 0
    chosen = ("--set", "classifier.name=mask_resnet18", "--set", f"classifier.weights={weights}")
    report = "print(code, 'torch' in sys.modules)"
    done = child(
        _RUN + report, ROOT, "--source", DEMO, "--max-frames", "5", "--quiet", "--jsonl", tmp_path / "out.jsonl", *chosen
    )
    assert done.stdout.splitlines()[-1:] == ["0 False"], done.stderr


@pytest.mark.slow
def test_pytorch_gives_the_same_faces(tmp_path: Path) -> None:
    records = []
    float32 = ("--set", "precision=float32")
    for backend in ("openvino", "torch"):
        path = tmp_path / f"{backend}.jsonl"
        chosen = [argument for model in ("detector", "classifier") for argument in ("--set", f"{model}.backend={backend}")]
        report = "print(code, 'torch' in sys.modules)"
        done = child(_RUN + report, ROOT, "--source", DEMO, "--max-frames", "40", "--quiet", "--jsonl", path, *chosen, *float32)
        assert done.stdout == f"0 {backend == 'torch'}\n", done.stderr
        records.append([json.loads(line) for line in path.read_text().splitlines()])
    assert len(records[0]) == len(records[1]) == 40
    for one, other in zip(*records, strict=True):
        assert len(one["faces"]) == len(other["faces"]) == 3
        for face, same in zip(one["faces"], other["faces"], strict=True):
            assert [face[key] for key in ("id", "label", "steady_label", "judged")] == [
                same[key] for key in ("id", "label", "steady_label", "judged")
            ]
            assert face["confidence"] == pytest.approx(same["confidence"], abs=1e-3)
            assert list(face["box"].values()) == pytest.approx(list(same["box"].values()), abs=0.05)


def test_the_package_itself_loads_nothing() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import maskstream; print(*sys.modules)"
    loaded = set(child(code, ROOT).stdout.split())
    assert "maskstream" in loaded
    assert not {"torch", "numpy", "cv2", "av", "pydantic", "loguru"} & loaded


def test_every_exported_name_can_be_imported() -> None:
    import maskstream

    assert all(getattr(maskstream, name) is not None for name in maskstream.__all__)
    assert set(maskstream.__all__) <= set(dir(maskstream))
    with pytest.raises(AttributeError, match="has no attribute 'Analyser'"):
        _ = maskstream.Analyser


def cpu_s(*command: str | Path) -> float:
    """Return how long processors worked for a command, in seconds."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], capture_output=True); "
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    return float(child(code, *command).stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        pytest.param(["--help"], marks=pytest.mark.slow),
        ["--source", "none.mp4"],
        pytest.param(["--source", DEMO, "--stride", "0"], marks=pytest.mark.slow),
    ],
)
def test_an_answer_takes_hardly_more_than_the_libraries_it_needs(arguments: list[str | Path]) -> None:
    """On the machine that the limit was set on, the libraries take 0.4 s and an answer may take 0.8 s.

    Both are measured in turns, since the speed of a shared processor changes from one second to the next.
    """
    answer = [sys.executable, ROOT / "run_stream.py", *arguments]
    assert min(cpu_s(*answer) / cpu_s(sys.executable, "-c", _LIGHT) for _ in range(3)) < 2
