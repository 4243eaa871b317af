"""Our checkpoints as PyTorch has them; see `metadata` for the format."""

from pathlib import Path

import torch
from safetensors.torch import save

from maskstream.errors import ModelError, WeightsError
from maskstream.io.files import make_folder, one_line, replace_file
from maskstream.models.fork_safety import require_unforked
from maskstream.models.metadata import (
    TENSORS_SHA256,
    Metadata,
    enter_into_manifest,
    read_checkpoint,
    tensors_sha256,
    to_header,
)

StateDict = dict[str, torch.Tensor]


def save_checkpoint(path: Path, state_dict: StateDict, metadata: Metadata) -> None:
    """Write a checkpoint, floats in float16, in one step, and enter it into the manifest beside it.

    Raises:
        ModelError: A weight is not finite, or too large for float16; nothing is written.
        SinkError: The folder cannot be written.
    """
    tensors = {name: _half(tensor) for name, tensor in state_dict.items()}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"{one_line(str(path))}: not written: {name} is not finite in float16; train with a lower learning_rate"
            )
    header = to_header(metadata)
    header[TENSORS_SHA256] = tensors_sha256({name: tensor.numpy() for name, tensor in tensors.items()})
    make_folder(str(path.parent))
    replace_file(path, save(tensors, header))
    enter_into_manifest(path)


def _half(tensor: torch.Tensor) -> torch.Tensor:
    stored = tensor.half() if tensor.is_floating_point() else tensor
    return stored.detach().cpu().contiguous()


def load_checkpoint(path: Path, *architectures: str) -> tuple[StateDict, Metadata]:
    """Read a checkpoint of the given architecture, or of one of several.

    Returns:
        The state dict, floats in float32 on the CPU, and the metadata.

    Raises:
        ModelError: This is a fork of a process that has used PyTorch.
        WeightsError: The file is missing, damaged, differs from the manifest, or is another kind of file or model.
    """
    require_unforked("PyTorch")
    arrays, metadata = read_checkpoint(path, *architectures)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}, metadata


def require_finite(state_dict: StateDict, origin: str) -> None:
    """Refuse weights that make a detector find nothing in any image, and of which OpenVINO makes probabilities nevertheless.

    Raises:
        WeightsError: A weight is no finite number.
    """
    broken = next((name for name, weight in state_dict.items() if not bool(weight.isfinite().all())), None)
    if broken is not None:
        raise WeightsError(f"{origin}: {broken} holds what is no finite number; give other weights, or train them anew")


def load_into(module: torch.nn.Module, state_dict: StateDict, origin: str) -> None:
    """Load a state dict strictly.

    Raises:
        WeightsError: Names or shapes do not fit the module; the first misfit is named.
    """
    try:
        module.load_state_dict(state_dict)
    except RuntimeError as error:
        misfit = " ".join(str(error).splitlines()[1:2]).strip() or str(error)
        raise WeightsError(
            f"{origin}: weights of another architecture ({misfit[:200]}); choose matching weights or name that model"
        ) from error
