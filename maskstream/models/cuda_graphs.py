"""Record the stages of a Keypoint R-CNN as CUDA graphs: all kernels of a stage start in one call, without Python between them.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from traceback import format_exception
from typing import Any, Final, Generic, TypeVar

import torch
from loguru import logger

from maskstream.models.out_of_memory import is_out_of_memory
from maskstream.models.padded_boxes import ROUNDS
from maskstream.models.padded_rcnn import PaddedFaces, PaddedRCNN

_WARM_UPS: Final = 3
"""Calls before a recording: libraries choose kernels and allocate workspaces in the first ones."""
_RECORDING: Final = Lock()
"""CUDA allows one recording at a time in a process."""
_MOST_SHAPES: Final = 24
"""Each recorded shape of a batch keeps memory; more shapes run without a graph."""

_Outputs = TypeVar("_Outputs")


class _Recorded(Generic[_Outputs]):
    """A call that was recorded with inputs and outputs at fixed addresses."""

    def __init__(self, call: Callable[..., _Outputs], inputs: tuple[torch.Tensor, ...], other: "_Recorded[Any] | None") -> None:
        """Record a call; its outputs have no values before the first replay.

        Args:
            call: Waits for no value, and allocates on the device of the inputs only.
            inputs: Kept: the replays read these tensors.
            other: Another graph of the network. They share memory, as they never run at the same time, and the stream of the
                recording: streams share no memory, not even in one pool.
        """
        self.inputs = inputs
        self._graph = torch.cuda.CUDAGraph()
        # The second context restores the current stream where a recording fails; `torch.cuda.graph` does not.
        with torch.cuda.device(inputs[0].device), torch.cuda.stream(torch.cuda.current_stream()):
            self._stream: torch.cuda.Stream = other._stream if other else torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UPS):
                    call(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            pool = None if other is None else other._graph.pool()
            with torch.cuda.graph(self._graph, pool=pool, stream=self._stream, capture_error_mode="thread_local"):
                self.outputs = call(*inputs)

    def replay(self) -> _Outputs:
        """Compute the outputs from the present values of the inputs, in the current stream."""
        self._graph.replay()
        return self.outputs


@dataclass(eq=False)
class _Shape:
    """The graphs of one shape of a batch."""

    faces: _Recorded[PaddedFaces]
    keypoints: dict[int, _Recorded[torch.Tensor]] = field(default_factory=dict)
    """By the number of faces."""


class GraphedRCNN(PaddedRCNN):
    """A `PaddedRCNN` that replays CUDA graphs. Results are overwritten by the next call, so that callers hold `exclusive`."""

    def __init__(self, *arguments: Any) -> None:
        """Share the weights of a module; see `PaddedRCNN`."""
        super().__init__(*arguments)
        self.exclusive = Lock()
        self._is_usable = True
        self.forget()

    def forget(self) -> None:
        """Delete all graphs, with their memory, as where numbers in the module have changed: graphs have them as constants."""
        self._shapes: dict[torch.Size, _Shape] = {}
        self._recorded: _Recorded[Any] | None = None

    def find_faces(self, rgb: torch.Tensor, sizes_hw: torch.Tensor, rounds: int = ROUNDS) -> PaddedFaces:
        """Find the faces of a batch; see `PaddedRCNN`. The first call of a shape records it."""
        shape = self._shapes.get(rgb.shape)
        if rounds == ROUNDS and shape is None and self._is_usable and len(self._shapes) < _MOST_SHAPES:
            recorded = self._record(super().find_faces, rgb.clone(), sizes_hw.clone())
            if recorded is not None:
                shape = self._shapes[rgb.shape] = _Shape(recorded)
        if shape is None or rounds != ROUNDS:
            return super().find_faces(rgb, sizes_hw, rounds)
        for kept, given in zip(shape.faces.inputs, (rgb, sizes_hw), strict=True):
            kept.copy_(given)
        return shape.faces.replay()

    def find_keypoints(self, faces: PaddedFaces, width: int, slots: int) -> torch.Tensor:
        """Find the keypoints of the first faces of a batch; see `PaddedRCNN`. The first call of a number of faces records it."""
        shape = next((each for each in self._shapes.values() if each.faces.outputs is faces), None)
        if shape is None:
            return super().find_keypoints(faces, width, slots)
        if slots not in shape.keypoints:
            plain = super().find_keypoints
            recorded = self._record(lambda *_: plain(faces, width, slots), faces.boxes, faces.scores, *faces.levels)
            if recorded is None:
                return plain(faces, width, slots)
            shape.keypoints[slots] = recorded
        return shape.keypoints[slots].replay()

    def _record(self, call: Callable[..., _Outputs], *inputs: torch.Tensor) -> "_Recorded[_Outputs] | None":
        """Return the recorded call, or None where this device cannot record it, which is logged once."""
        if not self._is_usable:
            return None
        try:
            with _RECORDING:
                recorded = self._recorded = _Recorded(call, inputs, self._recorded)
            return recorded
        except RuntimeError as error:
            cause = error.__context__ or error  # where a step fails, the end of the recording raises a second error
            if is_out_of_memory(cause):
                self.forget()  # the memory of graphs is not available to the smaller batch that follows
                raise cause from None
            self._is_usable = False
            reason = str(cause).partition("\n")[0]
            logger.warning("detector.execution: cuda_graphs is not possible here ({:.160}); padded is used instead", reason)
            logger.debug("detector.execution: {}", "".join(format_exception(cause)))
            return None
