"""Find out whether the video decoder (NVDEC) and encoder (NVENC) of an NVIDIA GPU can be used through PyAV on this machine."""

import ctypes
import sys
from fractions import Fraction
from functools import cache
from typing import Final, Literal

import av
from av.codec.hwaccel import HWAccel
from loguru import logger

NVENC: Final = "h264_nvenc"
_CUDA: Final = "cuda"
_NVDEC: Final = "nvcuvid.dll" if sys.platform == "win32" else "libnvcuvid.so.1"
"""The part of NVIDIA's driver that decodes video. FFmpeg loads it with the first frame and, without it, decodes by the CPU."""


def decoder(where: Literal["cpu", "cuda"]) -> HWAccel | None:
    """Return what `av.open` needs to decode on a GPU; None for the CPU.

    PyAV itself falls back for videos that the GPU cannot decode, without a message, but refuses all videos where there is no
    GPU. The frames are copied to the memory of the CPU.

    Args:
        where: `video.decode_on`. Where the GPU cannot be used, the reason is logged once, and the CPU decodes.
    """
    return HWAccel(_CUDA, allow_software_fallback=True) if where == _CUDA and _can_decode() else None


@cache
def _can_decode() -> bool:
    problem = _nvdec_problem()
    if problem is not None:
        logger.warning("video.decode_on: cuda is not possible here ({}); the CPU decodes", problem)
    return problem is None


def _nvdec_problem() -> str | None:
    """Return why NVDEC cannot decode H.264, or None."""
    try:
        HWAccel(_CUDA).create(av.Codec("h264", "r"))
    except NotImplementedError:
        return "this PyAV has no CUDA"
    except av.FFmpegError as error:
        return f"FFmpeg: {error.strerror}"
    try:
        ctypes.CDLL(_NVDEC)
    except OSError:
        return f"the driver has no {_NVDEC}; a container needs NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    return None


def nvenc_problem(width: int, height: int) -> str | None:
    """Return why NVENC cannot encode H.264 of a size now, or None. The number of parallel encoders may be limited."""
    if NVENC not in av.codecs_available:
        return f"this PyAV has no {NVENC}"
    context = av.VideoCodecContext.create(NVENC, "w")
    context.width, context.height, context.pix_fmt, context.time_base = width, height, "yuv420p", Fraction(1, 25)
    try:
        context.open()
    except av.FFmpegError as error:
        return f"FFmpeg: {error.strerror}"
    return None
