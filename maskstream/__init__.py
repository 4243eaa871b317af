"""maskstream: watches video and says, face by face, who wears a mask.

After "Face Mask Detection using Human Keypoints": a Keypoint R-CNN finds eyes and nose, which stay visible above a mask; the face
is cut out upright by them; a small network judges it.
"""

import cv2 as _cv2  # noqa: F401  before av: the other order can freeze windows on Linux

from maskstream.analyzer import Analyzer
from maskstream.config import load_config
from maskstream.errors import (
    ConfigError,
    MaskStreamError,
    ModelError,
    SinkError,
    SourceError,
    SourceOpenError,
    StreamLost,
    WeightsError,
)
from maskstream.pipeline import MaskPipeline, build_analyzer
from maskstream.settings import Config
from maskstream.types import Detection, Face, Frame, FrameResult, Label

__version__ = "0.1.0"

__all__ = [
    "Analyzer",
    "Config",
    "ConfigError",
    "Detection",
    "Face",
    "Frame",
    "FrameResult",
    "Label",
    "MaskPipeline",
    "MaskStreamError",
    "ModelError",
    "SinkError",
    "SourceError",
    "SourceOpenError",
    "StreamLost",
    "WeightsError",
    "__version__",
    "build_analyzer",
    "load_config",
]
