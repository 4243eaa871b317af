"""Run graphs on the CPU with OpenVINO or ONNX Runtime, behind one interface."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache, cached_property, partial
from pathlib import Path
from threading import Lock
from typing import Any, Final, Protocol

import numpy as np
from loguru import logger
from numpy.typing import NDArray

from maskstream.errors import SinkError, WeightsError
from maskstream.io.files import make_folder, replace_file
from maskstream.models.cpu_features import has_amx
from maskstream.models.environment import environment
from maskstream.models.fork_safety import require_unforked
from maskstream.models.telemetry import onnxruntime_package, openvino_package

Arrays = list[NDArray[Any]]

_MAX_STREAMS: Final = 4

_MAX_SINGLE_CALLS: Final = 8
"""A network that is compiled for batches is compiled for single calls too after this number of consecutive single calls.

A few of them are normal: the last batch of a file has fewer frames.
"""

_HASH_BYTES: Final = hashlib.sha256().digest_size

_MAX_ISA: Final = "ONEDNN_MAX_CPU_ISA"
_ISA_BELOW_AMX: Final = "AVX512_CORE_FP16"


class Graph(Protocol):
    """A compiled network on numpy arrays. Several threads may call it."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata in the file."""
        ...

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        """Run a batch of calls, each given by its inputs in order; return the outputs of each call in order."""
        ...

    def begin(self, calls: Iterable[Sequence[NDArray[Any]]], count: int) -> Callable[[], list[Arrays]]:
        """Begin to run a batch of `count` calls.

        The inputs of a call are made while calls before it run; nobody changes them before the end.

        Returns:
            Waits for the outputs of each call, in order. A backend without asynchronous calls runs all of them there.
        """
        ...


def streams(threads: int | None = None) -> int:
    """Return the number of calls of a batch that OpenVINO runs in parallel, each on fewer cores: the batch takes less time.

    Args:
        threads: Number of CPU threads; None: all cores.
    """
    return min(threads or os.cpu_count() or 1, _MAX_STREAMS)


def read_graph(content: bytes | Path, backend: str, cache: Path, *, several: bool = False, threads: int | None = None) -> Graph:
    """Compile a graph.

    Args:
        content: ONNX, or a file in a format of the backend.
        backend: `openvino` or `onnx`.
        cache: Folder in which the compiled network is stored for the next start, where it is writable.
        several: True where most calls are in batches.
        threads: Number of CPU threads; None: all cores.

    Raises:
        RuntimeError: The graph cannot be read.
    """
    try:
        if backend == "openvino":
            return _OpenVinoGraph(content, cache, several, threads)
        return _OnnxRuntimeGraph(content, threads)
    except UnicodeDecodeError as error:  # OpenVINO's message contains bytes of the file
        raise RuntimeError("the graph is damaged") from error


def graph_metadata(path: Path, backend: str) -> Mapping[str, str]:
    """Return the metadata in the file of a graph. OpenVINO does not compile the graph for this.

    Raises:
        RuntimeError: The graph cannot be read.
    """
    if backend != "openvino":
        return _OnnxRuntimeGraph(path).metadata
    try:
        return _openvino_metadata(path)
    except UnicodeDecodeError as error:  # OpenVINO's message contains bytes of the file
        raise RuntimeError("the graph is damaged") from error


def _openvino_metadata(content: bytes | Path) -> Mapping[str, str]:
    model = _core().read_model(content)
    values = model.get_rt_info(["framework"]).value if model.has_rt_info(["framework"]) else {}
    return {name: str(value) for name, value in values.items()}


def _core() -> Any:
    """Return the shared `openvino.Core`.

    Raises:
        ModelError: This process was forked from one that has used OpenVINO.
    """
    require_unforked("OpenVINO")
    return _shared_core()


@cache
def _shared_core() -> Any:
    """Return the only `openvino.Core` of the process, which is never deleted.

    A core replaces the signal stack of the thread that creates it, and may restore a freed one when it is deleted. The next
    signal then crashes the process (observed with 2026.4).
    """
    return openvino_package().Core()


@cache
def _load_cpu_plugin() -> None:
    """Load the CPU plugin of the shared core so that it does not use AMX, unless the user's environment has a limit.

    With AMX a network in int8 whose sizes are not fixed crashes the process at some sizes (observed with 2026.4, as in
    https://github.com/openvinotoolkit/openvino/issues/37577). The detector is as fast without it. Other libraries may use it.
    """
    limit = {_MAX_ISA: _ISA_BELOW_AMX} if has_amx() and _MAX_ISA not in os.environ else {}
    with environment(limit):
        _shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")  # the plugin reads the variable here


class _OpenVinoGraph:
    """A single call uses all cores; the calls of a batch share them.

    The network is compiled for single calls or for batches, and for both only where both occur, since each needs memory. Calls
    that are begun while others run wait for them: more at a time would need more memory and not be faster.

    On one thread the calls of a batch are single calls, so that the network is compiled once.
    """

    def __init__(self, content: bytes | Path, cache: Path, several: bool, threads: int | None) -> None:
        self._content = content
        self._cache = cache
        self._threads = threads
        self._lock = Lock()
        self._single_calls = 0
        """Number of consecutive single calls while the network is compiled for batches."""
        _ = self._for_batches if several and threads != 1 else self._for_single_calls  # compile now, not at the first call

    def _compile(self, **hints: Any) -> Any:
        """Return the compiled network from the cache, or compile it and store it there.

        OpenVINO's own cache is not used: it writes files while other processes read them, which crash (observed with 2026.4).
        """
        core, options = _core(), {"INFERENCE_PRECISION_HINT": "f32", **hints}
        _load_cpu_plugin()
        if self._threads is not None:
            options["INFERENCE_NUM_THREADS"] = self._threads
        machine = (openvino_package().__version__, core.get_property("CPU", "FULL_DEVICE_NAME"), *options.items())
        path = self._cache / f"{hashlib.sha256(f'{_digest(self._content)} {machine}'.encode()).hexdigest()[:32]}.compiled"
        with suppress(OSError, RuntimeError, ValueError):  # the file does not exist, or cannot be used
            stored = path.read_bytes()  # not memory-mapped: the file may change afterwards
            body, sha256 = stored[:-_HASH_BYTES], stored[-_HASH_BYTES:]
            if hashlib.sha256(body).digest() == sha256:
                return core.import_model(body, "CPU", options)
        model = core.read_model(self._content)
        constants = [each for each in model.get_ordered_ops() if each.get_type_name() == "Constant"]
        if any(each.get_element_type().is_real() and np.isnan(each.data).any() for each in constants):
            # refused here, since OpenVINO's softmax turns NaN into probabilities
            name = self._content if isinstance(self._content, Path) else "the network"
            raise WeightsError(f"{name}: contains NaN; give other weights, or train them again")
        compiled = core.compile_model(model, "CPU", options)
        exported = compiled.export_model().getvalue()
        try:
            make_folder(str(self._cache), like_parent=True)
            replace_file(path, exported + hashlib.sha256(exported).digest(), like_folder=True)
        except SinkError as error:
            logger.debug("the compiled network is not stored for the next start: {}", error)
        return compiled

    @cached_property
    def _for_single_calls(self) -> "_Requests":
        return _Requests(self._compile(PERFORMANCE_HINT="LATENCY"))

    @cached_property
    def _for_batches(self) -> "_Requests":
        return _Requests(self._compile(NUM_STREAMS=streams(self._threads)))

    @property
    def metadata(self) -> Mapping[str, str]:
        return _openvino_metadata(self._content)

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        return self.begin(calls, len(calls))()

    def begin(self, calls: Iterable[Sequence[NDArray[Any]]], count: int) -> Callable[[], list[Arrays]]:
        with self._lock:
            requests = self._requests_for(count)
        begun = [requests.begin(inputs) for inputs in calls]
        return lambda: [outputs() for outputs in begun]

    def _requests_for(self, count: int) -> "_Requests":
        """Return the compiled network for a batch of `count` calls. The first call of each kind compiles it."""
        if self._threads == 1:
            return self._for_single_calls
        self._single_calls = self._single_calls + 1 if count == 1 else 0
        is_single = count == 1 and ("_for_single_calls" in vars(self) or self._single_calls > _MAX_SINGLE_CALLS)
        return self._for_single_calls if is_single else self._for_batches


class _Requests:
    """The requests of a compiled network. A request has inputs and outputs; the calls that run share the other memory."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: deque[Any] = deque()

    def begin(self, inputs: Sequence[NDArray[Any]]) -> Callable[[], Arrays]:
        """Begin a call, which runs as soon as one of the network's streams is free. Several threads may call it.

        Returns:
            Waits for the outputs; called once.
        """
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.start_async(list(inputs), share_inputs=True)

        def outputs() -> Arrays:
            request.wait()
            found = [np.array(each.data) for each in request.output_tensors]
            self._idle.append(request)
            return found

        return outputs


class _OnnxRuntimeGraph:
    def __init__(self, content: bytes | Path, threads: int | None = None) -> None:
        onnxruntime = onnxruntime_package()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no common base class
            raise RuntimeError(str(error)) from error
        self._names = [each.name for each in self._session.get_inputs()]

    @property
    def metadata(self) -> Mapping[str, str]:
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def each(self, calls: Sequence[Sequence[NDArray[Any]]]) -> list[Arrays]:
        return [self._session.run(None, dict(zip(self._names, inputs, strict=True))) for inputs in calls]

    def begin(self, calls: Iterable[Sequence[NDArray[Any]]], count: int) -> Callable[[], list[Arrays]]:
        return partial(self.each, list(calls))


def _digest(content: bytes | Path) -> str:
    """Return a hash of the graph's content."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()[:32]
    weights = content.with_suffix(".bin")  # OpenVINO's format has its weights in a second file
    return _digest(content.read_bytes() + (weights.read_bytes() if weights.is_file() else b""))
