"""Networks compiled for the CPU they run on: OpenVINO and ONNX Runtime, both from one ONNX graph.

A graph is exported once and kept in the user's cache, so that the next start only reads it.
"""

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import torch
from loguru import logger
from torch import nn

from maskstream.errors import ConfigError, SinkError
from maskstream.files import make_folder, replace_file
from maskstream.models.runtimes import Graph, read_graph

_PACKAGES: Final = {"openvino": ("openvino", "onnx"), "onnx": ("onnxruntime", "onnx")}
"""What each takes to run, and PyTorch to export."""
_OPSET: Final = 17


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives, by name, with the axes whose length varies."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    varying: Mapping[str, Mapping[int, str]]


def installed_backends(device: torch.device) -> list[str]:
    """Return the backends that can run on a device, the fastest first."""
    compiling = [name for name in _PACKAGES if not _missing(name)] if device.type == "cpu" else []
    return [*compiling, "torch"]


def _missing(backend: str) -> list[str]:
    return [package for package in _PACKAGES[backend] if find_spec(package) is None]


def choose_backend(key: str, wanted: str, device: torch.device, precision: torch.dtype = torch.float32) -> str:
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
        return installed_backends(device)[0] if precision is torch.float32 else "torch"
    if wanted in _PACKAGES:
        if missing := _missing(wanted):
            raise ConfigError(f"{key}: {wanted} is not installed; pip install {' '.join(missing)}, or choose torch")
        if device.type != "cpu":
            raise ConfigError(f"{key}: {wanted} runs on the CPU alone, not on {device}; choose torch")
        if precision is not torch.float32:
            raise ConfigError(f"{key}: {wanted} computes in float32 alone; choose torch, or precision float32")
    return wanted


def compiled(network: nn.Module, example: Sequence[torch.Tensor], signature: Signature, backend: str) -> Graph:
    """Return a network as a compiled graph.

    Args:
        network: In inference mode, on the CPU. It must have all that decides about its results among its parameters, buffers,
            and what it prints of itself (`extra_repr`): by these the graph is found again.
        example: What it is called with; only the axes that are said to vary may have another length later.
        signature: Names of inputs and outputs.
        backend: `openvino` or `onnx`.
    """
    cache = cache_folder()
    path = cache / f"{_digest(network, signature)}.onnx"
    if path.is_file():
        with suppress(RuntimeError):  # it is damaged
            return read_graph(path, backend, cache)
    logger.info("preparing the {} for {}, once: the next start reads it", type(network).__name__, backend)
    content = export(network, example, signature)
    try:
        make_folder(str(cache))
        replace_file(path, content)
    except SinkError as error:
        logger.debug("not kept for the next start: {}", error)
    return read_graph(content, backend, cache)


def export(network: nn.Module, example: Sequence[torch.Tensor], signature: Signature) -> bytes:
    """Return a network as an ONNX graph."""
    content = BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracer asks whether constants are meant; that the results agree is tested
        torch.onnx.export(
            network,
            tuple(example),
            content,  # type: ignore[arg-type]  # a file object will do
            input_names=signature.inputs,
            output_names=signature.outputs,
            dynamic_axes={name: dict(axes) for name, axes in signature.varying.items()},
            opset_version=_OPSET,
            dynamo=False,  # the newer exporter does not know torchvision's operators
        )
    return content.getvalue()


def cache_folder() -> Path:
    """Return where compiled networks are kept; it need not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "maskstream"


def _digest(network: nn.Module, signature: Signature) -> str:
    """Return what tells a graph from all others: its numbers, and the code that says what is computed with them."""
    digest = hashlib.sha256(f"{torch.__version__} {signature} {network}".encode())
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(module.read_bytes())
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    return digest.hexdigest()[:32]
