"""What `import openvino` does besides; each test has a process of its own, in which nothing is imported yet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

WATCHED = """
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


UNSET = ("CI", "TF_BUILD", "JENKINS_URL", "XDG_CACHE_HOME")
"""Where a machine says that it tests, the package keeps quiet by itself."""


def child(code: str, home: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET} | {"HOME": str(home)}
    command = [sys.executable, "-c", WATCHED + code + IMPORTED, str(ROOT)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout


def test_it_reports_nothing(tmp_path: Path) -> None:
    code = "from maskstream.models.openvino_package import openvino_package; print(openvino_package().Core.__name__)"
    assert child(code, tmp_path).splitlines() == ["Core", "[]"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["", "import openvino_telemetry as own"], ids=["afterwards", "before"])
def test_the_package_that_reports_is_there_for_whoever_imports_it(tmp_path: Path, first: str) -> None:
    code = f"""
own = None
{first}
from maskstream.models.openvino_package import openvino_package
openvino_package()
import openvino
import openvino_telemetry
from openvino_telemetry.backend import backend
print(hasattr(openvino_telemetry, "Telemetry"), own in (None, openvino_telemetry), hasattr(openvino, "convert_model"))
"""
    assert child(code, tmp_path).splitlines() == ["True True True", "[]"]
    assert list(tmp_path.iterdir()) == []
