"""What a file of weights says of itself, and whether it is whole. Nothing here needs PyTorch.

Our checkpoints are safetensors in float16. Each key of `Metadata` is stored as JSON under its own name in the header of the
file, so any safetensors reader shows what a file is. `tensors_sha256` beside them is the sum over all tensors, which shows damage
wherever the file has been copied to. The manifest (`manifest.json` in the same folder) maps file names to sums: it shows that a
file is the one that belongs there.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loguru import logger
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open

from maskstream.errors import WeightsError
from maskstream.io.files import replace_file

MANIFEST: Final = "manifest.json"
TENSORS_SHA256: Final = "tensors_sha256"

Arrays = dict[str, NDArray[Any]]


class Metadata(BaseModel):
    """What a checkpoint says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    """Key in the registry of detectors or classifiers."""
    input_size: int
    """Pixels: short side of the image for a detector, side of the crop for a classifier."""
    mean: tuple[float, float, float]
    """RGB, of values in [0, 1]."""
    std: tuple[float, float, float]
    keypoint_names: tuple[str, ...] = ()
    keypoint_calibration: tuple[float, float] | None = None
    """Scale and bias: a keypoint's score is sigmoid(scale * heatmap logit + bias)."""
    class_names: tuple[str, ...] = ()
    temperature: float | None = None
    """Class logits are divided by it before the softmax."""
    training_command: str
    data_manifest_sha256: str | None
    """Sum of the annotation file it was trained on; None where that is not known."""
    figures: dict[str, float]
    """What it reaches on validation images."""
    licence: str


def read_checkpoint(path: Path, *architectures: str) -> tuple[Arrays, Metadata]:
    """Read a checkpoint of the given architecture, or of one of several.

    Returns:
        The tensors by their names, as they are stored (floats in float16), and the metadata.

    Raises:
        WeightsError: The file is missing, damaged, differs from the manifest, or is another kind of file or model.
    """
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises where nothing may be looked up)
        raise WeightsError(f"{path}: no such weights file; give a .safetensors file written by the trainers")
    check_manifest(path)
    try:
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); fetch or train it anew") from error
    metadata = parse_metadata(path, header)
    if header.get(TENSORS_SHA256) != tensors_sha256(arrays):
        raise WeightsError(f"{path}: damaged, its tensors do not have the sum that it states; fetch it anew")
    if metadata.architecture not in architectures:
        wanted = " or a ".join(map(repr, architectures))
        raise WeightsError(f"{path}: holds a {metadata.architecture!r}, not a {wanted}; choose matching weights or its model")
    return arrays, metadata


def parse_metadata(path: Path, header: Mapping[str, str], writer: str = "the trainers") -> Metadata:
    """Return the metadata in the header of a file.

    Raises:
        WeightsError: It is missing or does not fit.
    """
    try:
        values: dict[str, Any] = {key: json.loads(value) for key, value in header.items() if key in Metadata.model_fields}
        return Metadata.model_validate(values)
    except (ValueError, RecursionError) as error:  # pydantic's own errors are ValueErrors
        reason = (
            f"{error.errors()[0]['loc'][0]}: {error.errors()[0]['msg']}" if isinstance(error, ValidationError) else str(error)
        )
        raise WeightsError(f"{path}: its metadata is missing or does not fit ({reason}); write it with {writer}") from error


def to_header(metadata: Metadata) -> dict[str, str]:
    """Return metadata as a file's header has it: a JSON text for each key."""
    return {key: json.dumps(value) for key, value in metadata.model_dump(mode="json").items()}


def check_manifest(path: Path) -> None:
    """Compare a file with the manifest beside it, where there is one.

    Raises:
        WeightsError: It is not the file that belongs there, or the manifest cannot be read.
    """
    manifest = path.with_name(MANIFEST)
    if not manifest.is_file():
        return
    expected = _manifest_entries(manifest).get(path.name)
    if expected is None:
        logger.warning("{} is not in {}: its content cannot be checked", path, manifest)
    elif expected != file_sha256(path):
        raise WeightsError(f"{path}: damaged, its SHA-256 is not the one in {manifest.name}; fetch it anew")


def enter_into_manifest(path: Path) -> None:
    """Write the sum of a file into the manifest beside it.

    Raises:
        SinkError: The folder cannot be written.
        WeightsError: The manifest that is there cannot be read.
    """
    manifest = path.with_name(MANIFEST)
    entries = _manifest_entries(manifest) if manifest.exists() else {}
    entries[path.name] = file_sha256(path)
    replace_file(manifest, json.dumps(entries, indent=2, sort_keys=True).encode() + b"\n")


def _manifest_entries(manifest: Path) -> dict[str, Any]:
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        if not isinstance(entries, dict):
            raise ValueError("no names and sums")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{manifest}: not a readable manifest ({error}); restore it") from error
    return entries


def file_sha256(path: Path) -> str:
    """Return the sum of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(arrays: Arrays) -> str:
    """Return the sum over the names and contents of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
