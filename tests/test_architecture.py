import ast
from pathlib import Path

import pytest

import maskstream
from tests.conftest import ROOT

# Who may look into whom: each room lists the rooms it may import.
GROUND = {"types", "clock", "errors", "events", "protocols", "redaction", "states"}
LOWER = GROUND | {
    "config",
    "align",
    "batches",
    "certificates",
    "content",
    "covering",
    "demuxing",
    "files",
    "folders",
    "geometry",
    "locations",
    "looks",
    "meanings",
    "palette",
    "processes",
    "pictures",
    "rates",
    "resources",
    "settings",
    "text",
    "homes",
    "local_media",
    "whitelists",
}
ALLOWED = {
    "types": set(),
    "clock": set(),
    "errors": {"redaction"},
    "redaction": set(),
    "protocols": {"types"},
    "states": {"clock"},
    "events": {"types"},
    "settings": set(),
    "yaml_text": set(),
    "config": {"errors", "redaction", "resources", "settings", "yaml_text"},
    "batches": {"errors", "files"},
    "cameras": {"batches", "config", "errors", "files", "folders", "locations", "pictures", "redaction", "settings"},
    "camera_watch": {"cameras", "clock", "config", "errors", "settings"},
    "geometry": {"types"},
    "certificates": set(),
    "align": {"geometry", "types"},
    "pictures": {"types", "errors", "files"},
    "folders": {"content", "errors", "files", "locations", "pictures"},
    "content": {"pictures"},
    "locations": {"content", "errors", "pictures", "redaction"},
    "covering": {"align", "settings", "types"},
    "demuxing": set(),
    "whitelists": set(),
    "local_media": {"redaction", "whitelists"},
    "files": {"errors"},
    "fonts": set(),
    "text": {"fonts", "types"},
    "meanings": {"config", "settings"},
    "palette": {"types"},
    "looks": {"settings"},
    "processes": {"errors"},
    "rates": set(),
    "resources": set(),
    "homes": set(),
    "__main__": {"cli"},
    "interrupts": set(),
    "annotations": LOWER | {"annotations"},
    "models": LOWER | {"models"},
    "sources": LOWER | {"sources"},
    "sinks": LOWER | {"sinks"},
    "overlay": LOWER,
    "analyzer": LOWER,
    "following": LOWER,
    "people": LOWER | {"people"},
    "evaluation": LOWER | {"annotations", "models", "analyzer", "evaluation"},
    "training": LOWER | {"models", "analyzer", "annotations", "evaluation", "training"},
    "stream": LOWER | {"analyzer", "stream"},
}
MODULES = sorted((ROOT / "maskstream").rglob("*.py"))


def imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def room(path: Path) -> str:
    return path.relative_to(ROOT / "maskstream").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_look_only_where_they_may(path: Path) -> None:
    if room(path) in {
        "app",
        "benchmark",
        "cli",
        "live_cameras",
        "measure",
        "opening",
        "pipeline",
        "prepare",
        "reporting",
        "train",
        "__init__",
    }:
        return  # those that see everything
    ours = {name.split(".")[1] for name in imports(path) if name.startswith("maskstream.")}
    assert ours <= ALLOWED[room(path)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_torch_stays_with_the_models(path: Path) -> None:
    if room(path) not in {"models", "training", "benchmark", "train"}:
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "torchvision"}


@pytest.mark.parametrize("package", ["openvino", "onnxruntime"])
def test_what_reports_its_users_is_imported_in_one_place(package: str) -> None:
    everything = [path for folder in ("maskstream", "tests", "tools") for path in (ROOT / folder).rglob("*.py")]
    places = [path for path in everything if package in {name.partition(".")[0] for name in imports(path)}]
    assert places == [ROOT / "maskstream" / "models" / "without_telemetry.py"]


def test_exported_names_are_these() -> None:
    missing = [name for name in maskstream.__all__ if not hasattr(maskstream, name)]
    assert missing == []
    assert {"MaskPipeline", "load_config", "Analyzer", "MaskStreamError"} <= set(maskstream.__all__)
