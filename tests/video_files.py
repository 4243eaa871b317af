"""Small videos for tests, written with PyAV: every frame is told apart by its grey level."""

import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from maskstream.types import BgrImage, Face, Frame, FrameResult, Output

Image = Callable[[int], BgrImage]
Matrix = tuple[int, int, int, int]

RED, GREEN, BLUE = (0, 0, 255), (0, 255, 0), (255, 0, 0)
MILLISECOND = Fraction(1, 1000)

MATRICES: dict[str, Matrix] = {
    "upright": (1, 0, 0, 1),
    "quarter turn right": (0, 1, -1, 0),
    "half turn": (-1, 0, 0, -1),
    "quarter turn left": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
}
"""a, b, c, d of ISO/IEC 14496-12: a stored pixel (x, y) is shown at (a x + c y, b x + d y)."""

INTERLACED = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "10"}
"""Options of an encoder, libx264 or MPEG-2, whose frames say that they are interlaced, the upper half picture first."""

_STEP, _LEVELS = 20, 11
_SAMPLE_RATE = 48_000
_BLOCK = 1024


def every(step_s: float, count: int, start_s: float = 0.0) -> list[float]:
    """Return the times of a constant frame rate."""
    return [start_s + index * step_s for index in range(count)]


def plain(color_bgr: tuple[int, int, int], size: tuple[int, int] = (64, 48)) -> BgrImage:
    """Return a picture of one colour; `size` is (width, height)."""
    return np.full((size[1], size[0], 3), color_bgr, np.uint8)


def grey(index: int, size: tuple[int, int] = (64, 48)) -> BgrImage:
    """Return the picture of frame `index`, which `grey_index` recognises."""
    level = 20 + _STEP * (index % _LEVELS)
    return plain((level, level, level), size)


def grey_index(bgr: BgrImage) -> int:
    """Return the index, modulo 11, of a picture made by `grey`."""
    return round((float(bgr.mean()) - 20) / _STEP)


def four_corners(size: tuple[int, int] = (64, 32)) -> BgrImage:
    """Return an asymmetric picture: red, green over blue, white."""
    image = plain((255, 255, 255), size)
    half_x, half_y = size[0] // 2, size[1] // 2
    image[:half_y, :half_x], image[:half_y, half_x:], image[half_y:, :half_x] = RED, GREEN, BLUE
    return image


def woven(index: int, size: tuple[int, int] = (160, 120), step: int = 4) -> BgrImage:
    """Return two half pictures in one, of a red block that moves by `step` pixels from one to the next."""
    upper, lower = plain((60, 60, 60), size), plain((60, 60, 60), size)
    for half, image in enumerate((upper, lower)):
        left = (2 * index + half) * step % (size[0] // 2)
        image[size[1] // 4 : -size[1] // 4, left : left + size[0] // 3] = (40, 40, 220)
    upper[1::2] = lower[1::2]
    return upper


def combing(bgr: BgrImage) -> float:
    """Return how much neighbouring lines of what `woven` drew differ: 0 for a whole picture."""
    inside = bgr[bgr.shape[0] // 4 + 4 : -bgr.shape[0] // 4 - 4].astype(np.int16)
    return float(np.abs(np.diff(inside, axis=0)).mean())


def write_video(
    path: Path,
    times_s: Sequence[float],
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    time_base: Fraction = MILLISECOND,
    image: Image | None = None,
    colorspace: Colorspace | None = None,
    color_range: ColorRange = ColorRange.MPEG,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: tuple[str, float, float] | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Write a video whose frames start at `times_s`.

    Args:
        path: Its suffix chooses the container.
        times_s: Start of each frame; the last one lasts as long as the one before.
        size: (width, height).
        codec: Name of an encoder.
        pix_fmt: What is encoded.
        time_base: Unit of the timestamps that are handed to the container.
        image: Makes the frame of an index; `grey` otherwise.
        colorspace: Converted to and tagged; None leaves it unsaid, which is BT.601.
        color_range: Full or limited.
        options: Of the encoder.
        container_options: Of the container.
        audio: Codec, start and end in seconds of a tone; None for silence.
        pixel_aspect: Width of a pixel over its height; None leaves it unsaid.
    """
    with av.open(path, "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=round(_rate(times_s)), options=options or {})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = *size, pix_fmt
        context.time_base = stream.time_base = time_base
        if pixel_aspect is not None:
            context.sample_aspect_ratio = pixel_aspect
        if colorspace is not None:
            context.colorspace, context.color_range = _tag(colorspace), color_range.value
        sound = _add_sound(container, *audio) if audio else []
        container.start_encoding()
        packets: list[av.Packet] = []
        for index, time_s in enumerate(times_s):
            shown = av.VideoFrame.from_ndarray(image(index) if image else grey(index, size), format="bgr24")
            frame = shown.reformat(format=pix_fmt, dst_colorspace=colorspace, dst_color_range=color_range)
            frame.pts, frame.time_base = round(Fraction(time_s) / time_base), time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        _say_durations(packets, [round(Fraction(time_s) / time_base) for time_s in times_s])
        for packet in sorted([*packets, *sound], key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def remux(
    inputs: Sequence[Path], path: Path, *, shift_s: float = 0.0, cover: BgrImage | None = None, main: int | None = None
) -> Path:
    """Copy the streams of several files into one, later by `shift_s`, behind an attached cover picture.

    Args:
        inputs: One after the other; their streams lie side by side in the output.
        path: Its suffix chooses the container.
        shift_s: Added to all timestamps.
        cover: Becomes the first video stream.
        main: Index of the stream that is marked as the one to play.
    """
    with av.open(path, "w") as output, ExitStack() as opened:
        packets = _cover_packets(output, cover) if cover is not None else []
        for container in [opened.enter_context(av.open(source)) for source in inputs]:
            copies = {stream.index: output.add_stream_from_template(stream) for stream in container.streams}
            for packet in container.demux():
                if packet.dts is not None:
                    shift = round(Fraction(shift_s) / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = copies[packet.stream.index]
                    packets.append(packet)
        if main is not None:
            output.streams[main].disposition = av.stream.Disposition.default
        for packet in packets:  # only now: the first one writes the header
            output.mux(packet)
    return path


def repeated(path: Path, times: int, target: Path) -> Path:
    """Copy a video so many times in a row into another file, for a run that must not end by itself while a test acts on it."""
    with av.open(path) as template, av.open(target, "w") as output:
        copies = {stream.index: output.add_stream_from_template(stream) for stream in template.streams}
        for number in range(times):
            with av.open(path) as container:
                shift_s = number * (Fraction(container.duration, av.time_base) + Fraction(1, 10))  # its sound may be longer
                for packet in container.demux():
                    if packet.dts is not None:
                        shift = round(shift_s / packet.time_base)
                        packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                        packet.stream = copies[packet.stream.index]
                        output.mux(packet)
    return target


def write_sound(path: Path, *, codec: str = "aac", end_s: float = 0.5) -> Path:
    """Write a file that has only sound."""
    with av.open(path, "w") as container:
        for packet in _add_sound(container, codec, 0.0, end_s):
            container.mux(packet)
    return path


def set_matrix(path: Path, matrix: Matrix) -> Path:
    """Write a display matrix into the track header of an MP4, as a phone does that is held the other way."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def packets_of(path: Path, kind: str) -> list[tuple[Fraction, bytes]]:
    """Return (start in seconds, content) of the packets of the best `video` or `audio` stream."""
    with av.open(path) as container:
        stream = container.streams.best(kind)
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(stream) if packet.pts is not None]


def sound_of(path: Path) -> tuple[float, np.ndarray[tuple[int], np.dtype[np.float32]], int]:
    """Return start in seconds, the samples of the first channel, silent in gaps, and the sample rate of a file's sound."""
    with av.open(path) as container:
        resampler = av.AudioResampler("fltp", "mono")
        frames = [mono for frame in container.decode(audio=0) for mono in resampler.resample(frame)]
    start_s, rate = frames[0].time, frames[0].sample_rate
    samples = np.zeros(max(round((frame.time - start_s) * rate) + frame.samples for frame in frames), np.float32)
    for frame in frames:
        first = round((frame.time - start_s) * rate)
        samples[first : first + frame.samples] = frame.to_ndarray()[0]
    return start_s, samples, rate


def _rate(times_s: Sequence[float]) -> float:
    steps = [after - before for before, after in pairwise(times_s)]
    return max(1.0, 1 / min(steps)) if steps else 25.0


def _tag(colorspace: Colorspace) -> int:
    return {Colorspace.ITU709: 1, Colorspace.ITU601: 6}[colorspace]


def _say_durations(packets: Sequence[av.Packet], pts: Sequence[int]) -> None:
    ends = [*pts[1:], 2 * pts[-1] - pts[-2] if len(pts) > 1 else pts[-1] + 1]
    lasts = {start: end - start for start, end in zip(pts, ends, strict=True)}
    for packet in packets:
        packet.duration = lasts.get(packet.pts, 0)


def _add_sound(container: av.container.OutputContainer, codec: str, start_s: float, end_s: float) -> list[av.Packet]:
    stream = container.add_stream(codec, rate=_SAMPLE_RATE)
    stream.codec_context.layout = "mono"
    resampler = av.AudioResampler(stream.codec_context.format, stream.codec_context.layout, _SAMPLE_RATE)
    packets: list[av.Packet] = []
    for first in range(round(start_s * _SAMPLE_RATE), round(end_s * _SAMPLE_RATE), _BLOCK):
        wave = 0.3 * np.sin(2 * np.pi * 440 / _SAMPLE_RATE * np.arange(first, first + _BLOCK))
        frame = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _SAMPLE_RATE, first, Fraction(1, _SAMPLE_RATE)
        for resampled in resampler.resample(frame):
            packets += stream.encode(resampled)
    return packets + stream.encode(None)


def _cover_packets(container: av.container.OutputContainer, cover: BgrImage) -> list[av.Packet]:
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = cover.shape[1], cover.shape[0], "yuvj420p"
    stream.disposition = av.stream.Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(cover, format="bgr24")
    frame.pts, frame.time_base = 0, Fraction(1)
    return stream.encode(frame) + stream.encode(None)


def output_of(frame: Frame, faces: tuple[Face, ...] = (), *, analysed: bool = True) -> Output:
    """Return what a sink is given for a frame; nothing is painted into it."""
    result = FrameResult(frame.source_id, frame.index, frame.time_s, faces, frame.wall_time, frame.file)
    return Output(frame, result, analysed, lambda frame, _: frame.bgr)
