"""Networks as ONNX graphs, which OpenVINO and ONNX Runtime run on a CPU."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import torch
from torch import nn

from maskstream.errors import ConfigError

_OPSET: Final = 17


@dataclass(frozen=True)
class Signature:
    """What a graph takes and gives, by name, with the axes whose length varies."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    varying: Mapping[str, Mapping[int, str]]


def export(network: nn.Module, example: Sequence[torch.Tensor], signature: Signature) -> bytes:
    """Return a network as an ONNX graph.

    Numbers that float16 holds without loss, as it does those of our checkpoints, are stored so: half the size, the same results.

    Args:
        network: In inference mode, on the CPU.
        example: What it is called with; only the axes that are said to vary may have another length later.
        signature: Names of inputs and outputs.

    Raises:
        ConfigError: The package onnx is not installed.
    """
    content = BytesIO()
    try:
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
                training=torch.onnx.TrainingMode.PRESERVE,  # else batch norm is folded into weights, which float16 would round
                do_constant_folding=False,  # likewise; who reads the graph folds it
            )
        return _in_half_size(content.getvalue())
    except ImportError as error:
        raise ConfigError(f"the package {error.name} is missing, which prepares networks; pip install onnx") from error


def _in_half_size(content: bytes) -> bytes:
    """Return an ONNX graph whose weights are stored in float16 and cast to float32, where that loses nothing."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(content)
    casts = []
    for stored in model.graph.initializer:
        values = numpy_helper.to_array(stored)
        if values.dtype != np.float32 or values.size < 2 or not np.array_equal(values.astype(np.float16), values):
            continue
        name = stored.name
        stored.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    serialized: bytes = model.SerializeToString()
    return serialized


def network_key(network: nn.Module, signature: Signature) -> str:
    """Return what tells a network from all others that the same code exports.

    All that decides about its results must be among its parameters, buffers, and what it prints of itself (`extra_repr`).
    """
    digest = hashlib.sha256(f"{torch.__version__} {signature} {network}".encode())
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    return digest.hexdigest()
