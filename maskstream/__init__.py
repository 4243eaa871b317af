"""Watch video and report for each face whether it wears a mask.

After "Face Mask Detection using Human Keypoints": a Keypoint R-CNN finds eyes and nose, which stay visible above a mask. The face
is cut out upright with these keypoints, and a small network classifies it.

Each name is imported when it is first used (PEP 562): `import maskstream` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maskstream.config.loading import load_config
    from maskstream.config.schema import Config
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
    from maskstream.inference.analyzer import Analyzer
    from maskstream.inference.pipeline import MaskPipeline, build_analyzer
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

_MODULE_OF = {
    "Analyzer": "inference.analyzer",
    "Config": "config.schema",
    "MaskPipeline": "inference.pipeline",
    "build_analyzer": "inference.pipeline",
    "load_config": "config.loading",
    **dict.fromkeys(("Detection", "Face", "Frame", "FrameResult", "Label"), "types"),
    **dict.fromkeys((name for name in __all__ if name.endswith("Error") or name == "StreamLost"), "errors"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
