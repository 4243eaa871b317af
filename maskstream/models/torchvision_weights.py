"""Plain PyTorch state dicts that are not ours to ship: torchvision's, read from a file or fetched on first use."""

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
    """Return the state dict of a local file, or of torchvision's file at a URL, which is kept for the next time.

    Raises:
        ModelError: It cannot be fetched; says from where, and where to put the file by hand.
        WeightsError: The file is missing, damaged or no state dict.
    """
    require_unforked("PyTorch")
    return _fetch(url) if path is None else _read_file(path, url)


def imagenet_weights(choice: str | None, url: str) -> StateDict | None:
    """Return a backbone to start a training from: of a file, fetched for None, or None for `none`, a random start.

    Raises:
        ModelError: It cannot be fetched.
        WeightsError: The file is missing, damaged or no state dict.
    """
    return None if choice == "none" else read_or_fetch(Path(choice) if choice else None, url)


def _read_file(path: Path, url: str) -> StateDict:
    if not os.path.isfile(path):  # noqa: PTH113 (Path raises where nothing may be looked up)
        raise WeightsError(f"{path}: no such weights file; give torchvision's file from {url}")
    try:
        state_dict = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise WeightsError(f"{path}: not a readable PyTorch weights file; fetch it anew from {url}") from error
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
        raise ModelError(f"cannot fetch {url} ({reason}); put the file {name} into {folder} by hand") from error
    return state_dict


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Bound each wait for the network: `torch.hub` sets no limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
