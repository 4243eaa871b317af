"""Check and time decoding and encoding of video by the GPU (NVDEC, NVENC), against the CPU."""

from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from maskstream.benchmark.gpu_setup import CLIP, Check, logged_lines
from maskstream.config.schema import VideoConfig
from maskstream.config.values import Processor
from maskstream.types import Frame, FrameResult, Output, SourceInfo

if TYPE_CHECKING:
    from collections.abc import Sequence

_DECODED_GREY: Final = 2.0
"""Maximum mean difference of a frame from that of the CPU: both decode exactly, but the chroma is scaled from NV12."""
_ENCODED_GREY: Final = 6.0
"""Maximum mean difference of an encoded frame from its original, with the default of `video.crf`."""


def video(check: Check) -> dict[str, Any]:
    """Decode the clip and encode it again on the CPU, and on CUDA by the GPU.

    A GPU without a video encoder (A100, H100) is no failure; what the CPU did in its place is in the text and in the rows.
    """
    if not CLIP.is_file():
        return {"skipped": f"{CLIP.name} exists only in a checkout"}
    places: Sequence[Processor] = ("cpu", "cuda") if check.is_cuda else ("cpu",)
    rows: list[dict[str, Any]] = []
    failures: list[str] = []
    originals: list[Frame] = []
    with TemporaryDirectory() as folder, logged_lines("") as said:
        for place in places:
            check.say(f"video: {place}")
            before = len(said)
            row: dict[str, Any] = {"on": place, "decoder": _decoder_of(place)}
            rows.append(row)
            frames, info = _decoded(check, place, row)
            originals = originals or frames
            row["decoded_grey"] = _difference(originals, frames)
            check.keep(rows)  # the encoder may fail
            written = _encoded(frames, info, place, Path(folder) / f"{place}.mp4", row)
            row["encoder"] = "cpu" if any("video.encode_on" in line for line in said[before:]) else place
            row["encoded_grey"] = _difference(originals, written)
            check.keep(rows)
            for name, allowed in (("decoded_grey", _DECODED_GREY), ("encoded_grey", _ENCODED_GREY)):
                if not row[name] <= allowed:
                    failures.append(f"{place}: {name} {row[name]:g}, at most {allowed:g} is allowed")
    if rows[-1]["decoder"] != places[-1] and not any("video.decode_on" in line for line in said):
        failures.append(f"{places[-1]}: the CPU decoded, and no line said so")
    passed = f"{len(originals)} frames of {CLIP.name}, decoded and encoded on {' and '.join(places)}"
    return {"passed": not failures, "said": "; ".join((failures or [passed]) + said), "rows": rows}


def _decoder_of(place: Processor) -> Processor:
    """Return which processor decodes the clip: FFmpeg falls back to the CPU without a message."""
    from maskstream.io.gpu_video import decoder
    from maskstream.io.local_media import open_local

    with open_local(str(CLIP), decoder(place)) as container:
        next(container.decode(video=0))
        return "cuda" if container.streams.video[0].codec_context.pix_fmt == "cuda" else "cpu"


def _decoded(check: Check, place: Processor, row: dict[str, Any]) -> tuple[list[Frame], SourceInfo]:
    """Decode the clip; add to the row the times of opening it with its first frame, and of each further frame."""
    from maskstream.sources import FileSource

    free_before = _free_bytes(check)
    begun_s = perf_counter()
    with closing(FileSource(str(CLIP), video=VideoConfig(decode_on=place))) as source:
        opened_s = perf_counter()
        frames, info = list(source), source.info
        decoded_s = perf_counter()
        if check.is_cuda:
            row["gpu_mb"] = (free_before - _free_bytes(check)) >> 20  # FFmpeg makes a CUDA context for each source
    row["frames"] = len(frames)
    row["open_ms"] = round(1000 * (opened_s - begun_s), 1)
    row["decode_ms"] = round(1000 * (decoded_s - opened_s) / max(len(frames) - 1, 1), 3)
    return frames, info


def _free_bytes(check: Check) -> int:
    return torch.cuda.mem_get_info(check.device)[0] if check.is_cuda else 0


def _encoded(frames: "Sequence[Frame]", info: SourceInfo, place: Processor, path: Path, row: dict[str, Any]) -> list[Frame]:
    """Encode frames, add the time and the size to the row, and return what was written."""
    from maskstream.sinks import VideoSink
    from maskstream.sources import FileSource

    begun_s = perf_counter()
    with closing(VideoSink(str(path), info, VideoConfig(encode_on=place))) as sink:
        for frame in frames:
            sink.write(Output(frame, FrameResult.of(frame, (), (), {}), analysed=False, paint=lambda shown, _: shown.bgr))
    row["encode_ms"] = round(1000 * (perf_counter() - begun_s) / len(frames), 3)
    row["mb"] = round(path.stat().st_size / 1e6, 3)
    with closing(FileSource(str(path))) as source:
        return list(source)


def _difference(expected: "Sequence[Frame]", found: "Sequence[Frame]") -> float:
    """Return the largest mean difference of a frame in grey levels; 255 where a frame is missing."""
    pairs = zip_longest(expected, found)
    distances = [np.abs(one.bgr.astype(np.int16) - other.bgr).mean() if one and other else 255.0 for one, other in pairs]
    return round(float(max(distances)), 3)
