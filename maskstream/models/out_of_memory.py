"""What becomes of it when the device has no memory left."""

from collections.abc import Generator
from contextlib import contextmanager

import torch

from maskstream.errors import OutOfMemory


@contextmanager
def memory_errors() -> Generator[None, None, None]:
    """Turn torch's error into `OutOfMemory`, for which the stream has an answer."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(f"out of memory: {str(error).splitlines()[0]:.160}") from error
