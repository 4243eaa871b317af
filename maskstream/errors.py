"""Define the errors that end as one line for the user and an exit code.

MaskStreamError
├── ConfigError            exit code 2: wrong usage or configuration
├── SourceError            exit code 3
│   ├── SourceOpenError    the source cannot be opened
│   │   └── SourceRefused  another attempt gives the same answer: wrong password or path, no video
│   │       └── SourceUnreadable  a file on a server that cannot be read as the server sends it
│   └── StreamLost         the source failed while it was read
├── ModelError             exit code 4
│   ├── WeightsError       a weights file is missing, damaged or does not fit the model
│   └── OutOfMemory        the batch is too large for the device
└── SinkError              exit code 5
    ├── SinkClosed         the reader closed the pipe: the run ends without a message
    └── StoreError         the store cannot be opened, read or written
        └── SiteTakenOver  another supervisor leads the site now

A message is one line: what failed, the value, and what to do. The end of a stream is not an error. A programming error stays a
`ValueError` or `TypeError`.
"""

from maskstream.redaction import one_line, redact_text


class MaskStreamError(Exception):
    """Base of all errors that end as one line and an exit code."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        """Keep the message as one line without passwords."""
        super().__init__(one_line(redact_text(message)))


class ConfigError(MaskStreamError):
    """The usage or the configuration is wrong."""

    exit_code = 2


class SourceError(MaskStreamError):
    """A source failed."""

    exit_code = 3


class SourceOpenError(SourceError):
    """A source cannot be opened."""


class SourceRefused(SourceOpenError):
    """A source refused the connection, and another attempt gives the same answer: wrong password or path, or no video."""


class SourceUnreadable(SourceRefused):
    """A file on a server cannot be read as the server sends it. The program does not try it again."""


class StreamLost(SourceError):
    """A source failed while it was read."""


class ModelError(MaskStreamError):
    """A model cannot be built or run."""

    exit_code = 4


class WeightsError(ModelError):
    """A weights file is missing, damaged, or belongs to another model."""


class OutOfMemory(ModelError):
    """The memory of the device is too small for the batch. A smaller batch may fit."""


class SinkError(MaskStreamError):
    """An output cannot be opened or written."""

    exit_code = 5


class SinkClosed(SinkError):
    """The reader of an output closed it, as `head` does. The run ends without a message."""

    exit_code = 0


class StoreError(SinkError):
    """The store cannot be opened, read or written."""


class SiteTakenOver(StoreError):
    """A later supervisor has opened the files of the site. This one has to end."""
