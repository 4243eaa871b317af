"""An output of a source whose size is not known before its first frame."""

from collections.abc import Callable

from maskstream.protocols import Sink
from maskstream.sinks.video_formats import require_recording_path
from maskstream.types import Output


class DeferredVideoSink:
    """Opens another sink when the first frame comes; of a source without frames nothing is left, and nothing is replaced."""

    wants_every_frame = True

    def __init__(self, path: str, open_sink: Callable[[], Sink]) -> None:
        """Open nothing yet.

        Args:
            path: Of the video that will be written.
            open_sink: Opens what is written to; it may raise `SinkError`.

        Raises:
            SinkError: Nothing can be written there.
        """
        require_recording_path(path)
        self._open_sink = open_sink
        self._sink: Sink | None = None

    def write(self, output: Output) -> None:
        """Hand on one frame."""
        if self._sink is None:
            self._sink = self._open_sink()
        self._sink.write(output)

    def source_ended(self, source_id: str) -> None:
        """Hand it on."""
        if self._sink is not None:
            self._sink.source_ended(source_id)

    def close(self) -> None:
        """Finish what was written."""
        if self._sink is not None:
            self._sink.close()
