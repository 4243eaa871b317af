"""The video decoder and encoder of a GPU: what PyAV says on this machine, and the CPU in their place."""

import re
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import av
import numpy as np
import pytest
from loguru import logger

from maskstream.config.loading import load_config
from maskstream.config.schema import VideoConfig
from maskstream.io import gpu_video
from maskstream.io.gpu_video import NVENC, decoder, nvenc_problem
from maskstream.sinks import VideoSink
from maskstream.sinks.video_formats import VIDEO_SUFFIXES, container_of
from maskstream.sources import FileSource, UrlSource
from maskstream.types import Frame
from tests.command_lines import ROOT
from tests.rtsp_camera import RtspCamera, running
from tests.sinks.test_video import live_info
from tests.video_files import grey, grey_index, output_of

CLIP = str(ROOT / "assets" / "demo.mp4")
ON_GPU = VideoConfig(decode_on="cuda", encode_on="cuda")
HAS_GPU = nvenc_problem(640, 360) is None
with_gpu = pytest.mark.skipif(not HAS_GPU, reason="needs an NVIDIA GPU with NVDEC and NVENC, and their driver")
without_gpu = pytest.mark.skipif(HAS_GPU, reason="an NVIDIA GPU can be used here")


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    gpu_video._can_decode.cache_clear()
    lines: list[str] = []
    handler = logger.add(lambda line: lines.append(line.strip()), level="WARNING", format="{message}")
    yield lines
    logger.remove(handler)


@without_gpu
def test_without_a_gpu_the_cpu_decodes_the_same_and_says_it_once(warnings: list[str]) -> None:
    with closing(FileSource(CLIP)) as plain, closing(FileSource(CLIP, video=ON_GPU)) as source:
        for expected, found in zip(islice(plain, 5), islice(source, 5), strict=True):
            assert np.array_equal(expected.bgr, found.bgr)
            assert expected.time_s == found.time_s
    with running(RtspCamera(gop=5)) as url, closing(UrlSource(url, load_config().network, video=ON_GPU)) as camera:
        assert [grey_index(frame.bgr) for frame in islice(camera, 3)] == [0, 1, 2]
    reason = r"video\.decode_on: cuda is not possible here \(FFmpeg: [A-Z][\w ]+\); the CPU decodes"
    assert len(warnings) == 1
    assert re.fullmatch(reason, warnings[0])


@without_gpu
def test_a_driver_without_its_video_part_is_named(warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with the usual capabilities: there is a CUDA device, and FFmpeg decodes by the CPU without a word."""

    class Device:
        def __init__(self, name: str) -> None:
            assert name == "cuda"

        def create(self, codec: av.Codec) -> None:
            assert codec.name == "h264"

    monkeypatch.setattr(gpu_video, "HWAccel", Device)
    assert decoder("cuda") is None
    assert decoder("cuda") is None
    assert warnings == [
        "video.decode_on: cuda is not possible here (the driver has no libnvcuvid.so.1; a container needs "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video); the CPU decodes"
    ]


@without_gpu
@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_without_a_gpu_the_cpu_encodes_and_says_so(tmp_path: Path, warnings: list[str], suffix: str) -> None:
    """WebM is VP9, which NVENC does not encode: nothing is said."""
    path = tmp_path / f"out{suffix}"
    with closing(VideoSink(str(path), live_info(), ON_GPU)) as sink:
        for index in range(5):
            sink.write(output_of(Frame(grey(index), index, "camera", 0.04 * index, 0.04)))
    with closing(FileSource(str(path))) as written:
        assert [grey_index(frame.bgr) for frame in written] == list(range(5))
    said = f"out{suffix}: video.encode_on: cuda is not possible here (FFmpeg: "
    assert [line.startswith(said) and line.endswith("); the CPU encodes") for line in warnings] == [True] * (suffix != ".webm")


def test_on_the_cpu_no_gpu_is_asked_for(tmp_path: Path, warnings: list[str]) -> None:
    config = VideoConfig()
    assert decoder(config.decode_on) is None
    assert container_of("out.mp4").encoder_for("out.mp4", (640, 360), config) == "libx264"
    assert warnings == []


def test_the_size_is_no_reason_why_the_encoder_is_not_possible() -> None:
    """The same call succeeds with an encoder that needs no GPU."""
    context: Any = av.VideoCodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt, context.time_base = 640, 360, "yuv420p", Fraction(1, 25)
    context.open()
    assert context.is_open


@pytest.mark.parametrize("crf", [0, 1, 23, 51])
def test_nvenc_knows_all_options_that_it_is_given(crf: int) -> None:
    private = av.VideoCodecContext.create(NVENC, "w").supported_options.private
    known = {option.name: option for option in private}
    for preset in get_args(VideoConfig.model_fields["preset"].annotation):
        config = VideoConfig(crf=crf, preset=preset)
        options = container_of("out.mp4").encoder_options(config, NVENC)
        assert options.pop("bf") == "0"  # of every encoder
        for name, value in options.items():
            choices = [choice.name for choice in known[name].choices]
            assert value in choices if choices else known[name].min <= float(value) <= known[name].max


@with_gpu
def test_a_gpu_decodes_nearly_the_same_frames(warnings: list[str]) -> None:
    with closing(FileSource(CLIP)) as plain, closing(FileSource(CLIP, video=ON_GPU)) as source:
        for expected, found in zip(plain, source, strict=True):
            assert np.abs(expected.bgr.astype(int) - found.bgr).mean() < 2
            assert expected.time_s == found.time_s
    assert warnings == []


@with_gpu
def test_a_gpu_encodes_every_frame_at_its_time(tmp_path: Path, warnings: list[str]) -> None:
    path = str(tmp_path / "out.mp4")
    with closing(FileSource(CLIP)) as source, closing(VideoSink(path, source.info, ON_GPU)) as sink:
        frames = list(source)
        for frame in frames:
            sink.write(output_of(frame))
    with closing(FileSource(path)) as written:
        for expected, found in zip(frames, written, strict=True):
            assert np.abs(expected.bgr.astype(int) - found.bgr).mean() < 6
            assert found.time_s == pytest.approx(expected.time_s, abs=0.002)
    assert warnings == []
