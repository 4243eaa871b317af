"""Annotated video of a source whose size is known only after its first frame."""

from collections.abc import Callable

from maskstream.protocols import Sink
from maskstream.sinks.video_formats import require_recording_path
from maskstream.types import Output


class DeferredVideoSink:
    """Opens another sink with the first frame. A source without frames leaves no file, and replaces none."""

    wants_every_frame = True

    def __init__(self, path: str, open_sink: Callable[[], Sink]) -> None:
        """Check the path; opens nothing.

        Args:
            path: Of the video.
            open_sink: Opens the sink; may raise `SinkError`.

        Raises:
            SinkError: The path cannot be written.
        """
        require_recording_path(path)
        self._open_sink = open_sink
        self._sink: Sink | None = None

    def write(self, output: Output) -> None:
        """Pass on one frame."""
        if self._sink is None:
            self._sink = self._open_sink()
        self._sink.write(output)

    def source_ended(self, source_id: str) -> None:
        """Pass on the end of the source."""
        if self._sink is not None:
            self._sink.source_ended(source_id)

    def close(self) -> None:
        """Close the sink."""
        if self._sink is not None:
            self._sink.close()
