"""Read torchvision's state dicts, which are not shipped, from a file or download them on first use."""

import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError

import torch

from maskstream.errors import ModelError, WeightsError
from maskstream.io.user_folders import lend_folders
from maskstream.models.checkpoint import StateDict
from maskstream.models.fork_safety import require_unforked

CONNECT_TIMEOUT_S = 20.0


def read_or_fetch(path: Path | None, url: str) -> StateDict:
    """Return the state dict of a local file, or download torchvision's file and cache it.

    Raises:
        ModelError: The download failed; the message has the URL and the folder for a manual download.
        WeightsError: The file is missing, damaged or not a state dict.
    """
    require_unforked("PyTorch")
    return _fetch(url) if path is None else _read_file(path, url)


def imagenet_weights(choice: str | None, url: str) -> StateDict | None:
    """Return the ImageNet weights that a training starts from.

    Args:
        choice: A file, None for a download, or `none` for a random start, for which None is returned.
        url: URL of torchvision's file.

    Raises:
        ModelError: The download failed.
        WeightsError: The file is missing, damaged or not a state dict.
    """
    return None if choice == "none" else read_or_fetch(Path(choice) if choice else None, url)


def _read_file(path: Path, url: str) -> StateDict:
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises where nothing may be looked up)
        raise WeightsError(f"{path}: no such weights file; give torchvision's file from {url}")
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise WeightsError(f"{path}: not a readable PyTorch weights file; download it again from {url}") from error
    if not isinstance(state_dict, dict) or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
        raise WeightsError(f"{path}: not a plain state dict; give torchvision's file from {url}")
    return state_dict


def _fetch(url: str) -> StateDict:
    lend_folders()
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    name = url.rpartition("/")[2]
    try:
        with _socket_timeout(CONNECT_TIMEOUT_S):
            state_dict: StateDict = torch.hub.load_state_dict_from_url(
                url, map_location="cpu", progress=True, check_hash=True, weights_only=True
            )
    except (URLError, OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"cannot download {url} ({reason}); download it manually and put the file {name} into {folder}"
        ) from error
    return state_dict


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Limit each wait for the network: `torch.hub` has no timeout."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
