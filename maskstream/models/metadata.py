"""Read checkpoints with their metadata, and check that they are complete; without PyTorch.

Checkpoints are safetensors files in float16. Each key of `Metadata` is stored as JSON under its own name in the header of the
file, so that any safetensors reader shows it. The header also has `tensors_sha256`, the hash of all tensors, which detects damage
in any copy of the file. The manifest (`manifest.json` in the same folder) maps file names to hashes, and detects exchanged files.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
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
    """The metadata of a checkpoint."""

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
    """SHA-256 of the annotation file of the training; None where it is not known."""
    figures: dict[str, float]
    """Metrics on the validation images."""
    licence: str


def read_checkpoint(path: Path, *architectures: str) -> tuple[Arrays, Metadata]:
    """Read a checkpoint of one of the given architectures.

    Returns:
        The tensors by name as they are stored (floats in float16), and the metadata.

    Raises:
        WeightsError: The file is missing or damaged, differs from the manifest, or is of another format or architecture.
    """
    _require_file(path)
    check_manifest(path)
    with _opened(path) as file:
        header = file.metadata() or {}
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    metadata = parse_metadata(path, header)
    if header.get(TENSORS_SHA256) != tensors_sha256(arrays):
        raise WeightsError(f"{path}: damaged, the SHA-256 of its tensors is not the one in its header; download it again")
    require_architecture(path, metadata, architectures)
    return arrays, metadata


def read_metadata(path: Path) -> Metadata:
    """Return the metadata of a checkpoint without reading its tensors.

    Raises:
        WeightsError: The file is missing or is no checkpoint.
    """
    _require_file(path)
    with _opened(path) as file:
        return parse_metadata(path, file.metadata() or {})


def _require_file(path: Path) -> None:
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises where nothing may be looked up)
        raise WeightsError(f"{path}: no such weights file; give a .safetensors file written by the trainers")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="np") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a readable safetensors file ({error}); download or train it again") from error


def require_architecture(path: Path, metadata: Metadata, architectures: Iterable[str]) -> None:
    """Refuse weights of another architecture.

    Raises:
        WeightsError: The architecture in the metadata is none of the given ones.
    """
    if metadata.architecture not in architectures:
        wanted = " or a ".join(map(repr, architectures))
        raise WeightsError(
            f"{path}: contains a {metadata.architecture!r}, not a {wanted}; choose other weights or the matching model"
        )


def parse_metadata(path: Path, header: Mapping[str, str], writer: str = "the trainers") -> Metadata:
    """Return the metadata in the header of a file.

    Raises:
        WeightsError: A key is missing or not valid.
    """
    try:
        values: dict[str, Any] = {key: json.loads(value) for key, value in header.items() if key in Metadata.model_fields}
        return Metadata.model_validate(values)
    except (ValueError, RecursionError) as error:  # pydantic's own errors are ValueErrors
        reason = str(error)
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{first['loc'][0]}: {first['msg']}"
        raise WeightsError(f"{path}: its metadata is missing or not valid ({reason}); write the file with {writer}") from error


def to_header(metadata: Metadata) -> dict[str, str]:
    """Return metadata in the format of a file header: a JSON text for each key."""
    return {key: json.dumps(value) for key, value in metadata.model_dump(mode="json").items()}


def check_manifest(path: Path) -> None:
    """Compare a file with the manifest beside it, where one exists.

    Raises:
        WeightsError: The file has another hash than in the manifest, or the manifest cannot be read.
    """
    manifest = path.with_name(MANIFEST)
    if not manifest.is_file():
        return
    expected = _manifest_entries(manifest).get(path.name)
    if expected is None:
        logger.warning("{} is not in {}: its content cannot be checked", path, manifest)
    elif expected != file_sha256(path):
        raise WeightsError(f"{path}: damaged, its SHA-256 is not the one in {manifest.name}; download it again")


def add_to_manifest(path: Path) -> None:
    """Add the hash of a file to the manifest beside it.

    Raises:
        SinkError: The folder cannot be written.
        WeightsError: The existing manifest cannot be read.
    """
    manifest = path.with_name(MANIFEST)
    entries = _manifest_entries(manifest) if manifest.exists() else {}
    entries[path.name] = file_sha256(path)
    replace_file(manifest, json.dumps(entries, indent=2, sort_keys=True).encode() + b"\n")


def _manifest_entries(manifest: Path) -> dict[str, Any]:
    try:
        entries = json.loads(manifest.read_text(encoding="utf-8"))
        if not isinstance(entries, dict):
            raise ValueError("not a mapping of file names to hashes")
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{manifest}: not a readable manifest ({error}); restore it") from error
    return entries


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(arrays: Arrays) -> str:
    """Return the SHA-256 of the names and contents of all tensors."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(arrays[name].tobytes())
    return digest.hexdigest()
