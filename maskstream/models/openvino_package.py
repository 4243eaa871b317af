"""OpenVINO without its reports on who uses it.

`import openvino` looks for the package `openvino_telemetry`, which then sends an event to Google Analytics and keeps a number of
this machine in `~/intel`. Where the package is missing OpenVINO has a substitute that does nothing.
"""

import sys
from threading import Lock
from typing import Any, Final

_REPORTS: Final = "openvino_telemetry"
_lock: Final = Lock()


def openvino_package() -> Any:
    """Return the package `openvino`; imported here, it reports nothing for as long as the process lives.

    Every module that needs it asks here. `openvino_telemetry` is hidden during this import alone: a program that wants it imports it
    before or afterwards as usual.
    """
    with _lock:
        imported: dict[str, Any] = sys.modules
        own = imported.get(_REPORTS)  # of a program that uses us as a library
        imported[_REPORTS] = None  # stands for a package that is not there
        try:
            import openvino
        finally:
            del imported[_REPORTS]
            if own is not None:
                imported[_REPORTS] = own
    return openvino
