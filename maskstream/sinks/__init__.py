"""Sinks: write, show or summarise the results of each frame."""

import cv2 as _cv2  # noqa: F401  before av: the other order can freeze windows on Linux

from maskstream.sinks.deferred_video import DeferredVideoSink
from maskstream.sinks.display import why_no_window
from maskstream.sinks.images import ImageSink, image_targets, require_image_target
from maskstream.sinks.progress import ProgressSink
from maskstream.sinks.records import CsvSink, JsonlSink, StatusSink
from maskstream.sinks.segmented_recording import SegmentedRecordingSink
from maskstream.sinks.video import VideoSink
from maskstream.sinks.window import WindowSink

__all__ = [
    "CsvSink",
    "DeferredVideoSink",
    "ImageSink",
    "JsonlSink",
    "ProgressSink",
    "SegmentedRecordingSink",
    "StatusSink",
    "VideoSink",
    "WindowSink",
    "image_targets",
    "require_image_target",
    "why_no_window",
]
