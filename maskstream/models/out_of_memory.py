"""Turn PyTorch's errors for exhausted device memory into `OutOfMemory`."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import torch

from maskstream.errors import OutOfMemory

_SIGNS: Final = ("out of memory", "_STATUS_ALLOC_FAILED", "NVML_SUCCESS == r")
"""In the messages of errors of other types: of CUDA where a kernel is loaded or a graph is made, and of MPS; of cuBLAS and cuDNN;
of PyTorch up to 2.13 in a MIG instance, where it may not ask who uses the memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of PyTorch says that the memory of the device is exhausted. Only its own allocator has a type."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


@contextmanager
def memory_errors() -> Generator[None, None, None]:
    """Raise `OutOfMemory` instead of PyTorch's errors; the stream then retries with smaller batches."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"out of memory: {str(error).splitlines()[0]:.160}") from error
