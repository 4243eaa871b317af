"""What `pip install .` makes: a command that works in any folder, far from the checkout.

The packages that the tests run with are lent to the environment that the wheel is installed into: none is fetched.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from tests.conftest import DEMO, ROOT
from tests.end_to_end.test_run_stream import decode
from tests.slowness import LONGEST_S

pytestmark = pytest.mark.slow

SOURCES = ("maskstream", "configs", "weights", "pyproject.toml", "setup.py", "LICENSE", "README.md")
LEFT_OUT = (".history.json", ".curves.png")
SAY_WHERE_IT_IS = """
import json, maskstream
from maskstream.io.resources import resource
print(json.dumps([maskstream.__file__, str(resource("configs/default.yaml")), str(resource("weights"))]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*SOURCES, *(path.name for path in ROOT.glob("requirements*.txt"))):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    build = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder / "dist"),
        str(folder),
    ]
    subprocess.run([sys.executable, "-m", "pip", *build], check=True)
    [built] = (folder / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel and, behind it, what the tests run with."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), *install], check=True)
    return folder


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that we are in, with nothing of the checkout in reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def called(environment: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [str(environment / "bin" / "maskstream"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False, env=dict(os.environ))


def test_it_holds_every_module_and_all_that_comes_with_the_program(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        held = {name for name in content.namelist() if not name.partition("/")[0].endswith(".dist-info")}
    expected = {str(path.relative_to(ROOT)) for suffix in (".py", ".j2") for path in (ROOT / "maskstream").rglob(f"*{suffix}")}
    static = ROOT / "maskstream" / "web" / "static"
    expected |= {str(path.relative_to(ROOT)) for path in static.rglob("*") if path.is_file()}
    for folder in ("configs", "weights"):
        files = [path for path in (ROOT / folder).iterdir() if path.is_file() and not path.name.endswith(LEFT_OUT)]
        expected |= {f"maskstream/{folder}/{path.name}" for path in files}
    assert held == expected
    assert wheel.stat().st_size < 60e6


def test_it_says_what_it_needs_and_brings_its_licence(environment: Path) -> None:
    [folder] = environment.glob("lib/python*/site-packages/maskstream-*.dist-info")
    about = Distribution.at(folder)
    assert set(about.metadata.get_all("Provides-Extra") or []) == {"clip", "fleet", "int8", "web", "yolo"}
    assert (folder / "licenses" / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
    needed = about.requires or []
    for extra in ("clip", "fleet", "int8", "yolo"):
        [line] = (ROOT / f"requirements-{extra}.txt").read_text().splitlines()
        [name, *_] = line.partition(">")
        assert [need for need in needed if need.startswith(name) and f'extra == "{extra}"' in need]


def test_the_main_job_in_an_empty_folder(environment: Path, empty: Path) -> None:
    shutil.copy(DEMO, empty / "clip.mp4")
    done = called(
        environment, "run", "--source", "clip.mp4", "--output", "out.mp4", "--jsonl", "faces.jsonl", "--max-frames", "6"
    )
    assert done.returncode == 0, done.stderr
    assert decode(empty / "out.mp4") == pytest.approx(decode(DEMO)[:6], abs=1e-4)
    records = [json.loads(line) for line in (empty / "faces.jsonl").read_text().splitlines()]
    assert [sorted(face["label"] for face in record["faces"]) for record in records] == [["mask", "no_mask", "no_mask"]] * 6


def test_all_of_it_comes_from_where_it_is_installed(environment: Path, empty: Path) -> None:
    asked = [str(environment / "bin" / "python"), "-c", SAY_WHERE_IT_IS]
    said = subprocess.run(asked, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    places = [Path(place) for place in json.loads(said)]
    assert [place for place in places if not place.is_relative_to(environment) or not place.exists()] == []


def test_shipped_files_have_their_names_and_mistakes_their_exit_codes(environment: Path, empty: Path) -> None:
    done = called(environment, "run", "--quiet", "--config", "configs/coco.yaml", "--source", "none.mp4")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "none.mp4: no such file; check the path\n")
    done = called(environment, "fault-drill", "--short")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "in a checkout, run python tools/fault_drill.py" in done.stderr
