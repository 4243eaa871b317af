"""Choose the device of the networks by PyTorch's names. PyTorch is imported only where a GPU may be used."""

import ctypes
import re
import sys
from functools import cache
from typing import Final

import cv2
from loguru import logger

from maskstream.errors import ConfigError

CPU: Final = "cpu"
_NAMES: Final = re.compile(r"cpu|mps|cuda(:\d+)?")
_DRIVER: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def pick_device(name: str) -> str:
    """Return the device of a name; for `auto` CUDA where PyTorch can use a GPU, otherwise the CPU.

    Raises:
        ConfigError: The name is not known, or the device is not available.
    """
    if name == "auto":
        return "cuda" if _has_driver() and _has_usable_gpu() else CPU
    if name == CPU:
        return CPU
    if not _NAMES.fullmatch(name):
        raise _refusal(name, "no such device")
    problem = _problem_of(name)
    if problem is not None:
        raise _refusal(name, problem)
    return name


@cache
def _has_usable_gpu() -> bool:
    """Return whether PyTorch can compute on CUDA: its builds contain no code for old GPUs, which are available nevertheless."""
    import torch

    if not torch.cuda.is_available():
        return False
    problem = _problem_of("cuda")
    if problem is not None:
        logger.warning("device: auto: the GPU cannot be used ({:.120}); the models run on the CPU", problem)
    return problem is None


def _problem_of(name: str) -> str | None:
    """Return why PyTorch cannot compute on a device, or None."""
    import torch

    try:
        torch.ones(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    return None


def kind_of(device: str) -> str:
    """Return `cpu`, `cuda` or `mps`."""
    return device.partition(":")[0]


def limit_threads(count: int) -> None:
    """Let image processing and PyTorch use this number of threads in this process. OpenVINO and ONNX Runtime have an option."""
    cv2.setNumThreads(count)
    if "torch" in sys.modules:  # it is not imported for this alone, which takes seconds
        import torch

        torch.set_num_threads(count)


def _refusal(name: str, reason: str) -> ConfigError:
    return ConfigError(f"device: {name!r} cannot be used here ({reason:.120}); allowed: auto, cpu, cuda, cuda:1, mps")


def _has_driver() -> bool:
    """Return whether a CUDA driver is installed. Without one, PyTorch is not imported, which takes seconds."""
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True
