"""Compiled graphs of tensors on the CPU: OpenVINO and ONNX Runtime behind one interface."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from maskstream.errors import SinkError, WeightsError
from maskstream.io.files import make_folder, replace_file
from maskstream.models.fork_safety import require_unforked
from maskstream.models.telemetry import onnxruntime_package, openvino_package

Arrays = list[NDArray[Any]]

STREAMS: Final = min(os.cpu_count() or 1, 4)
"""Calls that OpenVINO works on at the same time where there are several: each on fewer cores, all together sooner."""

_LONE_CALLS: Final = 8
"""After so many calls in a row that came alone, the network is compiled for those too: the last frames of a file are fewer."""

_SUM_BYTES: Final = hashlib.sha256().digest_size


class Graph(Protocol):
    """Takes and gives numpy arrays. May be called by several threads."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the file says of itself."""
        ...

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        """Return the outputs, in order, of each of several calls, given by their inputs in order."""
        ...


def read_graph(content: bytes | Path, backend: str, cache: Path, *, several: bool = False) -> Graph:
    """Compile a graph.

    Args:
        content: ONNX, or a file of what the backend can read.
        backend: `openvino` or `onnx`.
        cache: A folder where what was compiled is kept for the next start, if it can be written.
        several: Whether mostly several calls come at a time.

    Raises:
        RuntimeError: It cannot be read.
    """
    try:
        return _OpenVinoGraph(content, cache, several) if backend == "openvino" else _OnnxRuntimeGraph(content)
    except UnicodeDecodeError as error:  # OpenVINO's message has bytes of the file in it
        raise RuntimeError("the graph is damaged") from error


def _core() -> Any:
    """Return OpenVINO.

    Raises:
        ModelError: This is a fork of a process that has used it.
    """
    require_unforked("OpenVINO")
    return _only_core()


@cache
def _only_core() -> Any:
    """Return the one OpenVINO that there is, which stays until the process ends.

    Each gives the thread that makes it another stack for signals, and what that has back at its end may be one that is gone: the
    next signal would be the end of the process (seen with 2026.4).
    """
    return openvino_package().Core()


class _OpenVinoGraph:
    """A call alone has all cores; of several, each has its share.

    The network is compiled for the one or for the other, and for both where both are asked for: each holds memory of its own.
    Threads take turns. One call has all cores anyway, so requests of their own would give them memory and no speed.
    """

    def __init__(self, content: bytes | Path, cache: Path, several: bool) -> None:
        self._content = content
        self._cache = cache
        self._turn = Lock()
        self._lone_calls = 0
        """How many in a row came alone while the network was compiled for several."""
        _ = self._together if several else self._alone

    def _compile(self, **wanted: Any) -> Any:
        """Return the compiled network from the cache, or compile it and keep it there.

        OpenVINO's own cache writes a file while other processes may read it, which then die of a bus error (seen with 2026.4).
        """
        core, options = _core(), {"INFERENCE_PRECISION_HINT": "f32", **wanted}
        machine = (openvino_package().__version__, core.get_property("CPU", "FULL_DEVICE_NAME"), *options.items())
        path = self._cache / f"{hashlib.sha256(f'{_digest(self._content)} {machine}'.encode()).hexdigest()[:32]}.compiled"
        with suppress(OSError, RuntimeError, ValueError):  # it is not there, or of no use
            return core.import_model(_whole(path), "CPU", options)
        model = core.read_model(self._content)
        _require_numbers(model, self._content)
        compiled = core.compile_model(model, "CPU", options)
        kept = compiled.export_model().getvalue()
        try:
            make_folder(str(self._cache), like_parent=True)
            replace_file(path, kept + hashlib.sha256(kept).digest(), like_folder=True)
        except SinkError as error:
            logger.debug("not kept for the next start: {}", error)
        return compiled

    @cached_property
    def _alone(self) -> Any:
        return self._compile(PERFORMANCE_HINT="LATENCY")

    @cached_property
    def _together(self) -> Any:
        queue = openvino_package().AsyncInferQueue(self._compile(NUM_STREAMS=STREAMS), STREAMS)
        queue.set_callback(lambda request, outputs: outputs.extend(np.array(each.data) for each in request.output_tensors))
        return queue

    @property
    def metadata(self) -> Mapping[str, str]:
        model = _core().read_model(self._content)
        values = model.get_rt_info(["framework"]).value if model.has_rt_info(["framework"]) else {}
        return {name: str(value) for name, value in values.items()}

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        with self._turn:
            return self._each(calls)

    def _each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        self._lone_calls = self._lone_calls + 1 if len(calls) == 1 else 0
        if len(calls) == 1 and ("_alone" in vars(self) or self._lone_calls > _LONE_CALLS):
            return [list(self._alone(list(calls[0])).values())]
        found: list[Arrays] = [[] for _ in calls]
        for inputs, outputs in zip(calls, found, strict=True):
            self._together.start_async(list(inputs), outputs)
        self._together.wait_all()
        return found


def _require_numbers(model: Any, content: bytes | Path) -> None:
    """Refuse a network with a NaN in its weights: OpenVINO's softmax makes probabilities of what is none.

    Raises:
        WeightsError: There is one.
    """
    constants = (
        each for each in model.get_ordered_ops() if each.get_type_name() == "Constant" and each.get_element_type().is_real()
    )
    if any(np.isnan(each.data).any() for each in constants):
        name = content if isinstance(content, Path) else "the network"
        raise WeightsError(f"{name}: holds what is no finite number; give other weights, or train them anew")


class _OnnxRuntimeGraph:
    def __init__(self, content: bytes | Path) -> None:
        onnxruntime = onnxruntime_package()
        try:
            self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own errors have no common base
            raise RuntimeError(str(error)) from error
        self._names = [each.name for each in self._session.get_inputs()]

    @property
    def metadata(self) -> Mapping[str, str]:
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        return [self._session.run(None, dict(zip(self._names, inputs, strict=True))) for inputs in calls]


def _whole(path: Path) -> bytes:
    """Return the content of a file that ends with its own sum, without that.

    Raises:
        OSError: It cannot be read.
        ValueError: It is damaged.
    """
    content = path.read_bytes()  # not mapped: what happens to the file does not matter afterwards
    kept, stated = content[:-_SUM_BYTES], content[-_SUM_BYTES:]
    if hashlib.sha256(kept).digest() != stated:
        raise ValueError(f"{path} is damaged")
    return kept


def _digest(content: bytes | Path) -> str:
    """Return what tells a graph from all others."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()[:32]
    weights = content.with_suffix(".bin")  # of OpenVINO's own format
    return _digest(content.read_bytes() + (weights.read_bytes() if weights.is_file() else b""))
