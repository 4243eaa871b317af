"""The sinks: where results go."""

from maskstream.sinks.progress import ProgressSink
from maskstream.sinks.records import STDOUT, CsvSink, JsonlSink
from maskstream.sinks.video import VideoSink
from maskstream.sinks.window import WindowSink, has_display

__all__ = ["STDOUT", "CsvSink", "JsonlSink", "ProgressSink", "VideoSink", "WindowSink", "has_display"]
