"""Choose the backend of a network: PyTorch, or on a CPU OpenVINO or ONNX Runtime, which read an ONNX graph.

The graph is in a file beside its weights, or in the user's cache. Where neither exists it is exported to the cache, for which
PyTorch is needed.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.config.values import Precision
from maskstream.errors import ConfigError, SinkError
from maskstream.io.files import make_folder, replace_file
from maskstream.io.user_folders import cache_folder, cache_lasts
from maskstream.models.cpu_features import has_fast_int8
from maskstream.models.devices import CPU
from maskstream.models.metadata import check_manifest, file_sha256
from maskstream.models.runtimes import Graph, read_graph

EXPORTED_FACES: Final = 100
"""Default maximum number of faces per image of an exported detector."""
INT8: Final = "int8"
_OPENVINO: Final = "openvino"
_PACKAGES: Final = {_OPENVINO: "openvino", "onnx": "onnxruntime"}
_COMPILED_IN: Final = ("auto", "float32")
"""Precisions of both OpenVINO and ONNX Runtime."""


def installed_backends(device: str) -> list[str]:
    """Return the backends that can run on a device, the fastest first."""
    compiling = [name for name, package in _PACKAGES.items() if find_spec(package)] if device == CPU else []
    return [*compiling, "torch"]


def choose_backend(key: str, wanted: str, device: str, precision: Precision = "auto") -> str:
    """Return `torch`, `openvino` or `onnx`; for `auto` the fastest that is installed and runs on the device.

    Args:
        key: Name of the setting, for error messages.
        wanted: One of these, or `auto`.
        device: Device that the network runs on.
        precision: Number format of the computation.

    Raises:
        ConfigError: The backend is not installed, or does not support the device or the precision.
    """
    if precision == INT8:
        return _require_openvino(key, wanted, device)
    if wanted == "auto":
        return installed_backends(device)[0] if precision in _COMPILED_IN else "torch"
    if wanted in _PACKAGES:
        if find_spec(_PACKAGES[wanted]) is None:
            raise ConfigError(f"{key}: {wanted} is not installed; pip install {_PACKAGES[wanted]}, or choose torch")
        if device != CPU:
            raise ConfigError(f"{key}: {wanted} runs only on the CPU, not on {device}; choose torch")
        if precision not in _COMPILED_IN:
            raise ConfigError(f"{key}: {wanted} does not compute in {precision}; choose torch, or precision auto")
    return wanted


def _require_openvino(key: str, wanted: str, device: str) -> str:
    if device != CPU or wanted not in ("auto", _OPENVINO):
        raise ConfigError(f"precision: int8 needs device cpu and {key} openvino, not {wanted} on {device}; choose precision auto")
    if find_spec(_OPENVINO) is None:
        raise ConfigError("precision: int8 needs OpenVINO, which is not installed; pip install openvino")
    return _OPENVINO


def shipped_graph_path(weights: Path) -> Path:
    """Return the path of the graph beside a weights file, which may not exist. Its name contains the hash of the weights."""
    return weights.with_suffix(f".{file_sha256(weights)[:12]}.onnx")


def prefers_int8(precision: str) -> bool:
    """Return whether a setting `precision` means int8 on this CPU, where there is a quantised graph."""
    return precision == INT8 or (precision == "auto" and has_fast_int8())


def int8_graph_path(weights: Path) -> Path:
    """Return the path of the quantised graph beside a weights file, in OpenVINO's format, which may not exist."""
    return weights.with_suffix(f".{file_sha256(weights)[:12]}.int8.xml")


@dataclass(frozen=True)
class GraphRequest:
    """How a graph will be used."""

    backend: str
    """`openvino` or `onnx`."""
    precision: Precision = "auto"
    max_faces: int = EXPORTED_FACES
    """Maximum number of faces per image, for a detector."""
    several: bool = False
    """True where most calls are in batches."""
    threads: int | None = None
    """Number of CPU threads; None: all cores."""


def graph_for_weights(weights: Path, request: GraphRequest, make: Callable[[], bytes]) -> Graph:
    """Return the graph of a weights file: one beside it, or one from the cache, which is created where it does not exist.

    Args:
        weights: A weights file whose content was checked.
        request: How the graph will be used.
        make: Exports the network as ONNX.

    Raises:
        ConfigError: It has to be in int8, and there is no quantised graph.
        WeightsError: The graph beside the weights is damaged.
    """
    int8 = _int8_graph(weights, request)
    if int8 is not None:
        return int8
    backend, max_faces, several, threads = request.backend, request.max_faces, request.several, request.threads
    beside = shipped_graph_path(weights)
    if max_faces <= EXPORTED_FACES and beside.is_file():
        check_manifest(beside)
        with suppress(RuntimeError):  # this version of the backend cannot read it
            return read_graph(beside, backend, cache_folder(), several=several, threads=threads)
    return cached_graph(f"{beside.name} {max_faces}", backend, make, several=several, threads=threads)


def _int8_graph(weights: Path, request: GraphRequest) -> Graph | None:
    """Return the quantised graph beside the weights where it is wanted, or is faster on this CPU."""
    if not prefers_int8(request.precision) or request.backend != _OPENVINO:
        return None
    path = int8_graph_path(weights)
    if path.is_file() and request.max_faces <= EXPORTED_FACES:
        for file in (path, path.with_suffix(".bin")):
            check_manifest(file)
        with suppress(RuntimeError):  # this version of OpenVINO cannot read it
            graph = read_graph(path, _OPENVINO, cache_folder(), several=request.several, threads=request.threads)
            logger.debug("{}: computes in int8", weights.stem)
            return graph
    if request.precision == INT8:
        raise ConfigError(
            f"precision: int8 needs a readable {path.name} beside the weights, and detector.max_faces up to {EXPORTED_FACES}; "
            f"make it with maskstream export --weights {weights.name} --int8 IMAGES, or choose precision auto"
        )
    return None


def cached_graph(
    key: str, backend: str, make: Callable[[], bytes], *, several: bool = False, threads: int | None = None
) -> Graph:
    """Return the graph of a key from the cache, or export it and store it there for the next start.

    Args:
        key: Identifies the graph among all that this code exports.
        backend: `openvino` or `onnx`.
        make: Exports the network as ONNX.
        several: True where most calls are in batches.
        threads: Number of CPU threads; None: all cores.
    """
    cache = cache_folder()
    code = hashlib.sha256()  # of the modules that define what a graph computes
    for module in sorted(Path(__file__).parent.glob("*.py")):
        code.update(module.read_bytes())
    name = hashlib.sha256(f"{key} {code.hexdigest()}".encode()).hexdigest()[:32]
    path = cache / f"{name}.onnx"
    if path.is_file():
        with suppress(RuntimeError):  # the file is damaged
            return read_graph(path, backend, cache, several=several, threads=threads)
    logger.info("exporting a network for {}{}", backend, "; the next start reads it from the cache" if cache_lasts() else "")
    content = make()
    try:
        make_folder(str(cache), like_parent=True)
        replace_file(path, content, like_folder=True)
    except SinkError as error:
        logger.warning("the exported network is not stored for the next start: {}", error)
    return read_graph(content, backend, cache, several=several, threads=threads)
