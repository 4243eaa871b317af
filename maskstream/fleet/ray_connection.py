"""Connect the program to a Ray cluster, or start one on this machine; whatever fails becomes one line."""

import logging
import signal
import socket
import sys
from collections.abc import Mapping
from threading import current_thread, main_thread
from typing import Any, Final

import ray
from loguru import logger

from maskstream.errors import ConfigError
from maskstream.fleet.ray_head import Head
from maskstream.io.processors import usable_cpus

_LISTENS_S: Final = 2.0
_ANSWERS_S: Final = 12.0
"""Ray itself would try for two minutes."""
_OBJECT_STORE_BYTES: Final = 80 * 2**20
"""The least that Ray accepts, nearly; paths and records are small."""


def connect(address: str, namespace: str) -> None:
    """Connect to a cluster; see `RayPlacement`.

    Raises:
        ConfigError: No head answers within 15 s, or it refuses this program.
    """
    if "://" in address:
        raise ConfigError(f"--ray {address}: give HOST:PORT of the head, or auto; addresses of Ray Client are not supported")
    _forward_log()
    options: dict[str, Any] = {"namespace": namespace, "log_to_driver": False, "logging_level": logging.WARNING}
    if address == "local":
        options |= {"num_cpus": usable_cpus(), "object_store_memory": _OBJECT_STORE_BYTES, "include_dashboard": False}
    else:
        _check_that_it_listens(address)
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":  # the cluster would end with another thread that starts it
            ray.init(address=address, **options)
        else:
            Head(_ANSWERS_S).ask(lambda: ray.init(address=address, **options))
    except TimeoutError as error:
        hint = (
            "check the address, the token (RAY_AUTH_MODE=token), and that this machine is a node (ray start --address HOST:PORT)"
        )
        raise ConfigError(f"--ray {address}: no head of Ray answers within {_ANSWERS_S:g} s; {hint}") from error
    except ConnectionError as error:
        raise ConfigError(f"--ray {address}: no Ray runs here; start it (ray start --head), or give HOST:PORT") from error
    except (Exception, SystemExit) as error:  # what Ray raises where versions or tokens differ changes with its version
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"--ray {address}: {type(error).__name__}: {reason}") from error
    sys.excepthook = hook  # that of Ray tells the head of the error, and waits for it
    if handler is not None and current_thread() is main_thread():
        signal.signal(signal.SIGTERM, handler)  # that of Ray ends the process at once


def _check_that_it_listens(address: str) -> None:
    """Find a wrong address at once.

    Raises:
        ConfigError: It is not HOST:PORT, or nothing listens there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(f"--ray {address}: give HOST:PORT of the head, such as 192.0.2.20:6379, or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_LISTENS_S).close()
    except OSError as error:
        raise ConfigError(f"--ray {address}: {error.strerror or error}; check the address, and that Ray runs there") from error


class _Forward(logging.Handler):
    """Forwards what Ray logs, as warnings at most: its errors reach the program as errors of calls."""

    def emit(self, record: logging.LogRecord) -> None:
        if "SIGTERM handler" not in record.getMessage():  # which stays the program's
            logger.warning("ray: {}", record.getMessage().partition("\n")[0])


def _forward_log() -> None:
    log = logging.getLogger("ray")
    log.handlers[:] = [_Forward(logging.WARNING)]
    log.setLevel(logging.WARNING)
    log.propagate = False
    if hasattr(ray._private.worker, "print_to_stdstream"):  # which prints to standard output when a worker dies
        ray._private.worker.print_to_stdstream = _log_death


def _log_death(said: Mapping[str, Any], **_: bool) -> None:
    for line in said["lines"]:
        logger.debug("ray: {}", line)
