"""Refuse to run models in forked processes, which do not have the threads of OpenVINO, ONNX Runtime and PyTorch.

A forked process that runs a model of its parent may wait for such a thread without limit. It gets an error instead.
"""

import os
from functools import cache
from typing import Final

from maskstream.errors import ModelError

_SPAWN: Final = 'or start processes with multiprocessing.get_context("spawn")'


class ForkGuard:
    """Remembers the process that loaded a model."""

    def __init__(self) -> None:
        """Remember the current process."""
        self._pid = os.getpid()

    def require(self) -> None:
        """Raise in any other process than the one that loaded the model.

        Raises:
            ModelError: This is another process.
        """
        if os.getpid() != self._pid:
            raise ModelError(
                f"the models were loaded in process {self._pid}, and cannot run in its fork, process {os.getpid()}; "
                f"load them after the fork, {_SPAWN}"
            )


@cache
def _first_process(library: str) -> int:  # noqa: ARG001 (the key of the cache)
    """Return the id of the first process that loaded a model with a library. A fork inherits the cached id."""
    return os.getpid()


def require_unforked(library: str) -> None:
    """Raise where a library cannot load a model: in a fork of a process that has used the library.

    Args:
        library: `OpenVINO` or `PyTorch`. ONNX Runtime has separate threads for each model.

    Raises:
        ModelError: This process is such a fork.
    """
    first = _first_process(library)
    if os.getpid() != first:
        raise ModelError(
            f"{library} loaded a model in process {first} before it forked this process, and cannot load another one here; "
            f"load the first one after the fork, {_SPAWN}"
        )
