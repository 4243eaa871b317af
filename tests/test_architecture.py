import ast
from functools import cache
from pathlib import Path

import pytest

import maskstream
from tests.conftest import ROOT

# From top to bottom: a room may import itself and the rooms on the lines below its own.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"web"},
    {"fleet"},
    {"benchmark"},
    {"training"},
    {"evaluation"},
    {"sinks"},
    {"inference"},
    {"store"},
    {"events"},
    {"rendering", "sources", "tracking"},
    {"annotations", "models", "stream"},
    {"config", "vision"},
    {"io"},
    {"errors", "protocols"},
    {"clock", "redaction", "types"},
)
MODULES = sorted((ROOT / "maskstream").rglob("*.py"))


@cache
def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def room(path: Path) -> str:
    return path.relative_to(ROOT / "maskstream").parts[0].removesuffix(".py")


def below(of: str) -> set[str]:
    level = next(level for level, rooms in enumerate(LAYERS) if of in rooms)
    return set().union(*LAYERS[level + 1 :])


def test_every_room_has_its_layer() -> None:
    rooms = {room(path) for path in MODULES} - {"__init__"}
    assert sorted(rooms) == sorted(name for layer in LAYERS for name in layer)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_what_is_below_them(path: Path) -> None:
    """`maskstream/__init__.py` imports what it exports when that is asked for, and stands above all."""
    if room(path) != "__init__":
        ours = {name.split(".")[1] for name in imports(path) if name.startswith("maskstream.")}
        assert ours <= below(room(path)) | {room(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_with_the_models(path: Path) -> None:
    if room(path) not in {"models", "training", "benchmark"} and path.name != "yolo_detector.py":
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "torchvision"}


@pytest.mark.parametrize("package", ["openvino", "nncf", "onnxruntime"])
def test_what_reports_its_users_is_imported_in_one_place(package: str) -> None:
    everything = [path for folder in ("maskstream", "tests", "tools") for path in (ROOT / folder).rglob("*.py")]
    places = [path for path in everything if package in {name.partition(".")[0] for name in imports(path)}]
    assert places == [ROOT / "maskstream" / "models" / "telemetry.py"]


def test_ray_is_imported_for_workers_on_ray_alone() -> None:
    """Archives and sites of one machine work without it."""
    places = {path.name for path in MODULES if "ray" in {name.partition(".")[0] for name in imports(path)}}
    assert places == {"ray_connection.py", "ray_placement.py", "ray_workers.py"}
    for name in ("ray_connection", "ray_workers"):
        users = {path.name for path in MODULES if f"maskstream.fleet.{name}" in imports(path)}
        assert users <= {"ray_placement.py"}


def test_exported_names_are_these() -> None:
    missing = [name for name in maskstream.__all__ if not hasattr(maskstream, name)]
    assert missing == []
    assert {"MaskPipeline", "load_config", "Analyzer", "MaskStreamError"} <= set(maskstream.__all__)
