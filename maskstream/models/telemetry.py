"""OpenVINO and ONNX Runtime without their reports on who uses them; every module that needs one of them asks here.

`import openvino` looks for the package `openvino_telemetry`, which sends an event to Google Analytics and keeps a number of this
machine in `~/intel`. `import onnxruntime` (since 1.29) sends events to Microsoft and keeps a number in `~/.cache/Microsoft`.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

_OPENVINO_REPORTS: Final = "openvino_telemetry"
_ONNXRUNTIME_SWITCHES: Final = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""The first one up to 1.32 at least; the other is to come."""
_lock: Final = Lock()


def openvino_package() -> Any:
    """Return the package `openvino`; imported here, it reports nothing for as long as the process lives.

    `openvino_telemetry` is hidden during this import alone: a program that wants it imports it before or afterwards as usual.
    """
    with _lock, _hidden(_OPENVINO_REPORTS):
        import openvino
    return openvino


def onnxruntime_package() -> Any:
    """Return the package `onnxruntime`; imported here, it reports nothing for as long as the process lives."""
    with _lock, _switched_on(_ONNXRUNTIME_SWITCHES):
        import onnxruntime
    onnxruntime.disable_telemetry_events()  # on Windows, which has no other switch
    return onnxruntime


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    imported: dict[str, Any] = sys.modules
    own = imported.get(package)  # of a program that uses us as a library
    imported[package] = None  # stands for a package that is not there; OpenVINO has a substitute that does nothing
    try:
        yield
    finally:
        del imported[package]
        if own is not None:
            imported[package] = own


@contextmanager
def _switched_on(variables: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(dict.fromkeys(variables, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
