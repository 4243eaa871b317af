"""Read and write exported networks with their metadata: ONNX (.onnx), or OpenVINO's format (.xml and .bin)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from maskstream.errors import ConfigError, WeightsError
from maskstream.io.user_folders import cache_folder
from maskstream.models.backends import installed_backends
from maskstream.models.devices import CPU
from maskstream.models.metadata import (
    Metadata,
    check_manifest,
    parse_metadata,
    read_checkpoint,
    require_architecture,
    to_header,
)
from maskstream.models.runtimes import Graph, graph_metadata, read_graph
from maskstream.models.telemetry import openvino_package

SUFFIXES: Final = (".onnx", ".xml")
_RUN_BY: Final = {".onnx": ("openvino", "onnx"), ".xml": ("openvino",)}


def is_exported(path: Path) -> bool:
    """Return whether a file of weights is an exported network."""
    return path.suffix.lower() in SUFFIXES


def load_exported(
    path: Path, architecture: str, backend: str, device: str, *, several: bool = False, threads: int | None = None
) -> tuple[Graph, Metadata]:
    """Read an exported network.

    Args:
        path: The exported file.
        architecture: The expected architecture.
        backend: `auto`, `openvino` or `onnx`.
        device: Must be the CPU.
        several: True where most calls are in batches.
        threads: Number of CPU threads; None: all cores.

    Raises:
        ConfigError: The backend cannot run the network on this device.
        WeightsError: The file is missing, damaged or of another model.
    """
    chosen = _backend_for(path, backend, device)
    check_manifest(path)
    with _readable(path):
        graph = read_graph(path, chosen, cache_folder(), several=several, threads=threads)
        metadata = parse_metadata(path, graph.metadata, "tools/export.py")
    require_architecture(path, metadata, [architecture])
    return graph, metadata


def exported_metadata(path: Path) -> Metadata:
    """Return the metadata of an exported network.

    Raises:
        ConfigError: No installed package can read the file.
        WeightsError: The file is missing or damaged.
    """
    backend = _backend_for(path, "auto", CPU)
    with _readable(path):
        return parse_metadata(path, graph_metadata(path, backend), "tools/export.py")


def _backend_for(path: Path, backend: str, device: str) -> str:
    """Return the backend that runs an exported network: the given one, or for `auto` the fastest that is installed."""
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises where nothing may be looked up)
        raise WeightsError(f"{path}: no such file; export one with tools/export.py")
    usable = [name for name in installed_backends(device) if name in _RUN_BY[path.suffix.lower()]]
    if not usable or backend not in ("auto", *usable):
        raise ConfigError(
            f"{path}: cannot be run by {backend} on {device}; allowed here: {', '.join(usable) or 'none, pip install openvino'}"
        )
    return usable[0] if backend == "auto" else backend


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise WeightsError(f"{path}: not a readable graph ({reason:.120}); export it again with tools/export.py") from error


def export_weights(weights: Path, max_faces: int) -> tuple[bytes, dict[str, str]]:
    """Return the network of a checkpoint as an ONNX graph, and its metadata in the format of a file header.

    Args:
        weights: Of `face_mobilenet`, or of a classifier of crops.
        max_faces: Maximum number of faces per image, for a detector.

    Raises:
        ConfigError: The package onnx is not installed.
        WeightsError: The file is missing, damaged or of another model.
    """
    from maskstream.models import CROP_ARCHITECTURES, face_mobilenet
    from maskstream.models.face_mobilenet_network import as_onnx

    _, metadata = read_checkpoint(weights, face_mobilenet.NAME, *CROP_ARCHITECTURES)
    if metadata.architecture == face_mobilenet.NAME:
        return as_onnx(weights, max_faces), to_header(metadata)
    return CROP_ARCHITECTURES[metadata.architecture].as_onnx(weights), to_header(metadata)


def write_exported(path: Path, content: bytes, properties: dict[str, str]) -> None:
    """Write an ONNX graph with properties in the format of the path's suffix.

    Raises:
        ConfigError: A required package is not installed.
        SinkError: The file cannot be written.
    """
    try:
        if path.suffix.lower() == ".onnx":
            _write_onnx(path, content, properties)
        else:
            _write_openvino(path, content, properties)
    except ImportError as error:
        raise ConfigError(f"{path}: the package {error.name} is not installed; pip install {error.name}") from error


def write_quantized(path: Path, content: bytes, properties: dict[str, str], images: Path) -> None:
    """Quantise an ONNX graph to int8, and write it with properties in OpenVINO's format.

    Args:
        path: The output, which ends in .xml; the weights go into a file with .bin beside it.
        content: The graph of a detector or classifier.
        properties: Its metadata in the format of a file header.
        images: Folder of example images.

    Raises:
        ConfigError: A required package is not installed.
        SourceOpenError: The folder has no images.
        SinkError: The file cannot be written.
    """
    from maskstream.models.quantization import quantized

    metadata = parse_metadata(path, properties)
    _save_openvino(path, quantized(content, metadata, properties, images))


def files_of(path: Path) -> list[Path]:
    """Return the files of an exported network: OpenVINO's format has its weights in a second one."""
    return [path, path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [path]


def _write_onnx(path: Path, content: bytes, properties: dict[str, str]) -> None:
    import onnx

    from maskstream.io.files import replace_file

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, properties)
    replace_file(path, model.SerializeToString())


def _write_openvino(path: Path, content: bytes, properties: dict[str, str]) -> None:
    model = openvino_package().Core().read_model(content)
    for name, value in properties.items():
        model.set_rt_info(value, ["framework", name])
    _save_openvino(path, model)


def _save_openvino(path: Path, model: Any) -> None:
    """Write a model; weights in float32 are stored in float16."""
    openvino_package().save_model(model, path, compress_to_fp16=True)
