"""Import OpenVINO, NNCF and ONNX Runtime with their telemetry disabled. Every module that needs them imports them here.

`import openvino` and `import nncf` use the package `openvino_telemetry`, which sends events to Google Analytics and stores an
identifier of the machine in `~/intel`. `import onnxruntime` (since 1.29) sends events to Microsoft and stores one in
`~/.cache/Microsoft`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final

from maskstream.models.environment import environment

_OPENVINO_TELEMETRY: Final = "openvino_telemetry"
_ONNXRUNTIME_SWITCHES: Final = ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED")
"""The first one up to 1.32 at least, the second one in later versions."""
_lock: Final = Lock()


def openvino_package() -> Any:
    """Return the package `openvino`. Imported here, it sends no telemetry until the process ends.

    `openvino_telemetry` is hidden only during this import: a program that needs it can import it before or afterwards.
    """
    with _lock, _hidden(_OPENVINO_TELEMETRY):
        import openvino
    return openvino


def nncf_package() -> Any:
    """Return the package `nncf`. Imported here, it sends no telemetry until the process ends."""
    with _lock, _hidden(_OPENVINO_TELEMETRY):
        import nncf
    return nncf


def onnxruntime_package() -> Any:
    """Return the package `onnxruntime`. Imported here, it sends no telemetry until the process ends."""
    with environment(dict.fromkeys(_ONNXRUNTIME_SWITCHES, "1")):
        import onnxruntime
    onnxruntime.disable_telemetry_events()  # Windows has no other switch
    return onnxruntime


@contextmanager
def _hidden(package: str) -> Iterator[None]:
    imported: dict[str, Any] = sys.modules
    own = imported.get(package)  # imported by a program that uses maskstream as a library
    imported[package] = None  # makes the import fail; OpenVINO then uses its empty substitute
    try:
        yield
    finally:
        del imported[package]
        if own is not None:
            imported[package] = own
