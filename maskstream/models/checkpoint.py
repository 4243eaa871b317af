"""Read and write checkpoints with PyTorch. `maskstream.models.metadata` describes the format."""

from pathlib import Path

import torch
from safetensors.torch import save

from maskstream.errors import ModelError, WeightsError
from maskstream.io.files import make_folder, one_line, replace_file
from maskstream.models.fork_safety import require_unforked
from maskstream.models.metadata import (
    TENSORS_SHA256,
    Metadata,
    add_to_manifest,
    read_checkpoint,
    tensors_sha256,
    to_header,
)

StateDict = dict[str, torch.Tensor]


def save_checkpoint(path: Path, state_dict: StateDict, metadata: Metadata) -> None:
    """Write a checkpoint with floats in float16, replace the file in one step, and add it to the manifest beside it.

    Raises:
        ModelError: A weight is not finite, or too large for float16; nothing is written.
        SinkError: The folder cannot be written.
    """
    tensors: StateDict = {}
    for name, tensor in state_dict.items():
        stored = tensor.half() if tensor.is_floating_point() else tensor
        tensors[name] = stored.detach().cpu().contiguous()
        if not torch.isfinite(tensors[name]).all():
            raise ModelError(
                f"{one_line(str(path))}: not written: {name} is not finite in float16; train with a lower learning_rate"
            )
    header = to_header(metadata)
    header[TENSORS_SHA256] = tensors_sha256({name: tensor.numpy() for name, tensor in tensors.items()})
    make_folder(str(path.parent))
    replace_file(path, save(tensors, header))
    add_to_manifest(path)


def load_checkpoint(path: Path, *architectures: str) -> tuple[StateDict, Metadata]:
    """Read a checkpoint of one of the given architectures.

    Returns:
        The state dict, floats in float32 on the CPU, and the metadata.

    Raises:
        ModelError: This process was forked from one that has used PyTorch.
        WeightsError: The file is missing or damaged, differs from the manifest, or is of another format or architecture.
    """
    require_unforked("PyTorch")
    arrays, metadata = read_checkpoint(path, *architectures)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, metadata


def require_finite(state_dict: StateDict, origin: str) -> None:
    """Refuse weights with NaN or infinity: a detector with them finds no face, and OpenVINO hides them in probabilities.

    Raises:
        WeightsError: A weight is not finite.
    """
    for name, weight in state_dict.items():
        if not bool(weight.isfinite().all()):
            raise WeightsError(f"{origin}: {name} contains NaN or infinity; give other weights, or train them again")


def load_into(module: torch.nn.Module, state_dict: StateDict, origin: str) -> None:
    """Load a state dict into a module.

    Raises:
        WeightsError: Names or shapes differ from the module; the message has the first difference.
    """
    try:
        module.load_state_dict(state_dict)
    except RuntimeError as error:
        difference = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
        raise WeightsError(
            f"{origin}: weights of another architecture ({difference[:200]}); choose matching weights or name that model"
        ) from error
