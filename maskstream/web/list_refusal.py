"""Define why a list of cameras is not changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

from maskstream.errors import ConfigError, MaskStreamError
from maskstream.web.list_file import is_refusal


class Refusal(Enum):
    """The kinds of reasons why a list is not changed."""

    UNKNOWN = "unknown"
    """No list has this camera."""
    WRONG = "wrong"
    """The request contains something that is not allowed."""
    CHANGED = "changed"
    """The camera was changed since the client read it, or the list is being changed now."""
    NOT_EDITABLE = "not editable"
    """The camera is not in a list, or its list must not be written."""
    FAILED = "failed"
    """Writing failed, as on a full disk."""


class CameraListError(ConfigError):
    """A list of cameras is not changed."""

    def __init__(self, refusal: Refusal, message: str) -> None:
        """Create the error.

        Args:
            refusal: The kind of reason.
            message: The reason, and what to do.
        """
        super().__init__(message)
        self.refusal = refusal


def unknown_camera(name: str) -> CameraListError:
    """Return the error for a camera that does not exist."""
    return CameraListError(Refusal.UNKNOWN, f"{name:.80}: no such camera; read the cameras again")


@contextmanager
def as_refusal(refusal: Refusal, advice: str = "") -> Iterator[None]:
    """Raise errors of the program as a refusal."""
    try:
        yield
    except CameraListError:
        raise
    except MaskStreamError as error:
        raise CameraListError(refusal, f"{error}{advice}") from error


@contextmanager
def writing(location: str) -> Iterator[None]:
    """Raise errors of the system as a refusal."""
    try:
        yield
    except BlockingIOError as error:
        raise CameraListError(Refusal.CHANGED, f"{location}: {error.strerror}; try again") from error
    except OSError as error:
        refusal = Refusal.NOT_EDITABLE if is_refusal(error) else Refusal.FAILED
        message = f"{location}: cannot be written: {error.strerror}; it is unchanged; make room, and check its permissions"
        raise CameraListError(refusal, message) from error
