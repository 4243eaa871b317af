"""Models and forked processes: the threads of OpenVINO, ONNX Runtime and PyTorch do not come along into a fork.

A forked process that runs a model of its parent may wait for such a thread without end. It gets an error instead.
"""

import os
from functools import cache
from typing import Final

from maskstream.errors import ModelError

_BY_SPAWN: Final = 'or start processes by multiprocessing.get_context("spawn")'


class OwnProcess:
    """The process that loaded a model."""

    def __init__(self) -> None:
        """Remember the present process."""
        self._pid = os.getpid()

    def require(self) -> None:
        """Do nothing in the process that loaded the model.

        Raises:
            ModelError: This is another process.
        """
        if os.getpid() != self._pid:
            raise ModelError(
                f"the models were loaded in process {self._pid}, of which this process was forked, and cannot run here; "
                f"load them after the fork, {_BY_SPAWN}"
            )


@cache
def _first_with(library: str) -> int:  # noqa: ARG001 (what the answers are kept by)
    """Return the process that first loaded a model by a library; a fork has this answer of its parent."""
    return os.getpid()


def require_unforked(library: str) -> None:
    """Do nothing where a library can load a model: it cannot in a fork of a process that has used it.

    Args:
        library: `OpenVINO` or `PyTorch`; ONNX Runtime has threads of its own for each model.

    Raises:
        ModelError: This is such a fork.
    """
    first = _first_with(library)
    if os.getpid() != first:
        raise ModelError(
            f"{library} loaded a model in process {first} before this process was forked, and cannot load another here; "
            f"load the first one after the fork, {_BY_SPAWN}"
        )
