"""Check and time decoding and encoding of video by the GPU (NVDEC, NVENC), against the CPU."""

from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from maskstream.benchmark.gpu_setup import CLIP, Check, warnings_of
from maskstream.config.schema import VideoConfig
from maskstream.config.values import Processor
from maskstream.types import Frame, FrameResult, Output

if TYPE_CHECKING:
    from collections.abc import Sequence

_DECODED_GREY: Final = 2.0
"""Maximum mean difference of a frame from that of the CPU: both decode exactly, but the chroma is scaled from NV12."""
_ENCODED_GREY: Final = 6.0
"""Maximum mean difference of an encoded frame from its original, with the default of `video.crf`."""


def video(check: Check) -> dict[str, Any]:
    """Decode the clip and encode it again on the CPU, and on CUDA by the GPU.

    A GPU without a video encoder (A100, H100) is no failure; what the CPU did in its place is in the text.
    """
    from maskstream.sinks import VideoSink  # needs PyAV
    from maskstream.sources import FileSource

    if not CLIP.is_file():
        return {"skipped": f"{CLIP.name} exists only in a checkout"}
    places: Sequence[Processor] = ("cpu", "cuda") if check.is_cuda else ("cpu",)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    originals: list[Frame] = []
    with TemporaryDirectory() as folder, warnings_of("") as said:
        for place in places:
            check.say(f"video: {place}")
            config = VideoConfig(decode_on=place, encode_on=place)
            begun_s = perf_counter()
            with closing(FileSource(str(CLIP), video=config)) as source:
                frames, info = list(source), source.info
            decoded_s = perf_counter()
            path = str(Path(folder) / f"{place}.mp4")
            with closing(VideoSink(path, info, config)) as sink:
                for frame in frames:
                    sink.write(Output(frame, FrameResult.of(frame, (), (), {}), analysed=False, paint=lambda shown, _: shown.bgr))
            encoded_s = perf_counter()
            originals = originals or frames
            with closing(FileSource(path)) as source:
                written = list(source)
            row: dict[str, Any] = {"on": place, "frames": len(frames)}
            row["decode_ms"] = round(1000 * (decoded_s - begun_s) / len(frames), 3)
            row["encode_ms"] = round(1000 * (encoded_s - decoded_s) / len(frames), 3)
            row["decoded_grey"], row["encoded_grey"] = _difference(originals, frames), _difference(originals, written)
            row["mb"] = round(Path(path).stat().st_size / 1e6, 3)
            rows.append(row)
            for name, allowed in (("decoded_grey", _DECODED_GREY), ("encoded_grey", _ENCODED_GREY)):
                if not row[name] <= allowed:
                    failures.append(f"{place}: {name} {row[name]:g}, at most {allowed:g} is allowed")
    passed = f"{len(originals)} frames of {CLIP.name}, decoded and encoded on {' and '.join(places)}"
    return {"passed": not failures, "said": "; ".join((failures or [passed]) + said), "rows": rows}


def _difference(expected: "Sequence[Frame]", found: "Sequence[Frame]") -> float:
    """Return the largest mean difference of a frame in grey levels; 255 where a frame is missing."""
    pairs = zip_longest(expected, found)
    distances = [np.abs(one.bgr.astype(np.int16) - other.bgr).mean() if one and other else 255.0 for one, other in pairs]
    return round(float(max(distances)), 3)
