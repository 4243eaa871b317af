"""Export networks as ONNX graphs, which OpenVINO and ONNX Runtime run on a CPU."""

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
    """The names of a graph's inputs and outputs, and the axes with variable length."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    varying: Mapping[str, Mapping[int, str]]


def export(network: nn.Module, example: Sequence[torch.Tensor], signature: Signature) -> bytes:
    """Return a network as an ONNX graph.

    Weights that float16 represents exactly, as those of our checkpoints, are stored in float16: half the size, the same results.

    Args:
        network: In inference mode, on the CPU.
        example: Example inputs. Only the axes in `signature.varying` may have another length later.
        signature: Names of inputs and outputs, and variable axes.

    Raises:
        ConfigError: The package onnx is not installed.
    """
    content = BytesIO()
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # the tracer warns of constants; tests compare the results
            torch.onnx.export(
                network,
                tuple(example),
                content,  # type: ignore[arg-type]  # a file object is accepted
                input_names=signature.inputs,
                output_names=signature.outputs,
                dynamic_axes={name: dict(axes) for name, axes in signature.varying.items()},
                opset_version=_OPSET,
                dynamo=False,  # the dynamo exporter does not support torchvision's operators
                training=torch.onnx.TrainingMode.PRESERVE,  # otherwise batch norm is folded, and float16 would round the weights
                do_constant_folding=False,  # for the same reason; the backends fold constants themselves
            )
        return _with_float16_weights(content.getvalue())
    except ImportError as error:
        raise ConfigError(
            f"the package {error.name} is not installed, which is needed to export networks; pip install onnx"
        ) from error


def _with_float16_weights(content: bytes) -> bytes:
    """Store the weights that float16 represents exactly in float16, with a cast to float32."""
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
    """Return a hash that identifies a network among all that this code exports.

    Everything that changes its results must be in its parameters, its buffers or its `extra_repr`.
    """
    digest = hashlib.sha256(f"{torch.__version__} {signature} {network}".encode())
    for name, tensor in [*network.named_parameters(), *network.named_buffers()]:
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensor.detach().numpy()).tobytes())
    return digest.hexdigest()
