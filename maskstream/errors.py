"""Every error that a user can cause or meet.

MaskStreamError
├── ConfigError            exit code 2: a usage or configuration mistake
├── SourceError            exit code 3
│   ├── SourceOpenError    it could not be opened
│   │   └── SourceRefused  and will not be next time: a wrong password or path, no video
│   │       └── SourceUnreadable  nor ever: it is a file, and its server gives it in no way that it can be read
│   └── StreamLost         it was open and broke
├── ModelError             exit code 4
│   ├── WeightsError       a weights file is missing, damaged or does not fit
│   └── OutOfMemory        a batch is too large for the device; a smaller one may not be
└── SinkError              exit code 5
    └── SinkClosed         the reader of our output has left (a closed pipe): the run ends quietly

A message says in one line what went wrong, the value, and what to do. The end of a stream is no error. A programmer's
mistake stays a `ValueError` or `TypeError`.
"""

from maskstream.redaction import redact_text


class MaskStreamError(Exception):
    """Base of all errors that end as one line and an exit code."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        """Keep the message in one line, whatever is in the names that it gives, and passwords out of it."""
        super().__init__("".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in redact_text(message)))


class ConfigError(MaskStreamError):
    """A usage or configuration mistake."""

    exit_code = 2


class SourceError(MaskStreamError):
    """A source of frames failed."""

    exit_code = 3


class SourceOpenError(SourceError):
    """A source could not be opened."""


class SourceRefused(SourceOpenError):
    """A source answered, and will give the same answer next time: a wrong password or path, or no video."""


class SourceUnreadable(SourceRefused):
    """A file on a server cannot be read as it is: no other attempt is made, even beside other sources."""


class StreamLost(SourceError):
    """A source broke while it was being read."""


class ModelError(MaskStreamError):
    """A model could not be built or run."""

    exit_code = 4


class WeightsError(ModelError):
    """A weights file is missing, damaged, or belongs to another model."""


class OutOfMemory(ModelError):
    """The memory of the device did not suffice; for fewer pictures at a time it may."""


class SinkError(MaskStreamError):
    """An output could not be opened or written."""

    exit_code = 5


class SinkClosed(SinkError):
    """The reader of an output went away, as `head` does: nothing is wrong, and nothing is left to do."""

    exit_code = 0
