"""Nothing is reported where OpenVINO and ONNX Runtime are imported; each test has a process in which nothing is imported yet."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.outside import environment
from tests.slowness import LONGEST_S

WATCHED = """
import os
import sys
import threading
sys.path.insert(0, sys.argv[1])
asked = []
sys.addaudithook(lambda event, given: asked.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
"""
IMPORTED = """
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(5)
print(asked)
"""


def child(code: str, home: Path) -> str:
    command = [sys.executable, "-c", WATCHED + code + IMPORTED, str(ROOT)]
    return subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=LONGEST_S, check=True).stdout


@pytest.mark.parametrize(("package", "name"), [("openvino", "Core"), ("onnxruntime", "InferenceSession")])
def test_nothing_is_reported(tmp_path: Path, package: str, name: str) -> None:
    code = f"""
from maskstream.models.telemetry import {package}_package
print({package}_package().{name}.__name__, [name for name in os.environ if name.startswith("ORT")])
"""
    assert child(code, tmp_path).splitlines() == [f"{name} []", "[]"]
    assert list(tmp_path.rglob("*")) == []  # what native code sends begins with a number of this machine that it keeps


@pytest.mark.parametrize("first", ["", "import openvino_telemetry as own"], ids=["afterwards", "before"])
def test_the_package_that_reports_is_there_for_whoever_imports_it(tmp_path: Path, first: str) -> None:
    code = f"""
own = None
{first}
from maskstream.models.telemetry import openvino_package
openvino_package()
import openvino
import openvino_telemetry
from openvino_telemetry.backend import backend
print(hasattr(openvino_telemetry, "Telemetry"), own in (None, openvino_telemetry), hasattr(openvino, "convert_model"))
"""
    assert child(code, tmp_path).splitlines() == ["True True True", "[]"]
    assert list(tmp_path.iterdir()) == []
