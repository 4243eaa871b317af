"""Turn PyTorch's error for exhausted device memory into `OutOfMemory`."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from maskstream.errors import OutOfMemory


@contextmanager
def memory_errors() -> Generator[None, None, None]:
    """Raise `OutOfMemory` instead of torch's error; the stream then retries with smaller batches."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"out of memory: {str(error).splitlines()[0]:.160}") from error
