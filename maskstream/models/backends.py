"""What runs a network: PyTorch, or on a CPU OpenVINO or ONNX Runtime, which read it as one graph from a file.

A graph lies beside the weights it was made of, or in the user's cache, where the first start puts it: only that start needs
PyTorch.
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from loguru import logger

from maskstream.errors import ConfigError, SinkError
from maskstream.io.files import make_folder, replace_file
from maskstream.io.user_folders import cache_folder, cache_lasts
from maskstream.models.devices import CPU
from maskstream.models.metadata import check_manifest, file_sha256
from maskstream.models.runtimes import Graph, read_graph

EXPORTED_FACES: Final = 100
"""Most faces that an exported detector finds in an image, unless another number was asked for."""
_PACKAGES: Final = {"openvino": "openvino", "onnx": "onnxruntime"}


def installed_backends(device: str) -> list[str]:
    """Return the backends that can run on a device, the fastest first."""
    compiling = [name for name, package in _PACKAGES.items() if find_spec(package)] if device == CPU else []
    return [*compiling, "torch"]


def choose_backend(key: str, wanted: str, device: str, precision: str = "float32") -> str:
    """Return `torch`, `openvino` or `onnx`; for `auto` the fastest that is installed and runs on the device.

    Args:
        key: Of the setting, for messages.
        wanted: One of these, or `auto`.
        device: Where the network runs.
        precision: What it computes in.

    Raises:
        ConfigError: It is not installed, or does not run on the device or in this precision.
    """
    if wanted == "auto":
        return installed_backends(device)[0] if precision == "float32" else "torch"
    if wanted in _PACKAGES:
        if find_spec(_PACKAGES[wanted]) is None:
            raise ConfigError(f"{key}: {wanted} is not installed; pip install {_PACKAGES[wanted]}, or choose torch")
        if device != CPU:
            raise ConfigError(f"{key}: {wanted} runs on the CPU alone, not on {device}; choose torch")
        if precision != "float32":
            raise ConfigError(f"{key}: {wanted} computes in float32 alone; choose torch, or precision float32")
    return wanted


def graph_beside(weights: Path) -> Path:
    """Return where the graph of a file of weights lies, if there is one: the name says of which content it was made."""
    return weights.with_suffix(f".{file_sha256(weights)[:12]}.onnx")


def graph_of(
    weights: Path, backend: str, make: Callable[[], bytes], max_faces: int = EXPORTED_FACES, *, several: bool = False
) -> Graph:
    """Return the graph of a file of weights: the one beside it, or one from the cache, which is made where it is missing.

    Args:
        weights: Its content was checked.
        backend: `openvino` or `onnx`.
        make: Returns it as ONNX.
        max_faces: Most faces it must find in an image, if it is a detector's.
        several: Whether mostly several calls come at a time.

    Raises:
        WeightsError: The graph beside the weights is damaged.
    """
    beside = graph_beside(weights)
    if max_faces <= EXPORTED_FACES and beside.is_file():
        check_manifest(beside)
        with suppress(RuntimeError):  # it is of no use to this version of the backend
            return read_graph(beside, backend, cache_folder(), several=several)
    return kept_graph(f"{beside.name} {max_faces}", backend, make, several=several)


def kept_graph(key: str, backend: str, make: Callable[[], bytes], *, several: bool = False) -> Graph:
    """Return the graph that the cache has under a key, or make it and keep it there for the next start.

    Args:
        key: Tells it from all others that the same code makes.
        backend: `openvino` or `onnx`.
        make: Returns it as ONNX.
        several: Whether mostly several calls come at a time.
    """
    cache = cache_folder()
    name = hashlib.sha256(f"{key} {_code()}".encode()).hexdigest()[:32]
    path = cache / f"{name}.onnx"
    if path.is_file():
        with suppress(RuntimeError):  # it is damaged
            return read_graph(path, backend, cache, several=several)
    logger.info("preparing a network for {}{}", backend, ", once: the next start reads it" if cache_lasts() else "")
    content = make()
    try:
        make_folder(str(cache), like_parent=True)
        replace_file(path, content, like_folder=True)
    except SinkError as error:
        logger.warning("not kept for the next start: {}", error)
    return read_graph(content, backend, cache, several=several)


def _code() -> str:
    """Return the sum of the code that says what a graph computes."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()
