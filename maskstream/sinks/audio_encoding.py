"""Write audio into an annotated video: copied, or decoded and encoded."""

from collections.abc import Iterator
from fractions import Fraction
from math import inf
from typing import Any, Final, Protocol, TypeAlias, cast

import av
import numpy as np
from av.audio.stream import AudioStream

_FORMATS: Final = ("flt", "fltp")
"""Floating point samples, interleaved or planar."""
_FRAME_SAMPLES: Final = 1024
_RATES: Final = range(4000, 768_001)
"""Samples per second; a damaged header may state others, which would need memory without limit."""
_LONGEST_GAP_S: Final = 10.0
"""A longer jump of the video is not filled with silence."""
_LEAD_IN_S: Final = 0.2
"""A shorter gap is filled, so that audio in the encoder keeps its time."""
_OVERLAP_S: Final = 0.1

AudioPacket: TypeAlias = "av.Packet[Any]"  # generic for type checkers only
DAMAGED: Final = (av.FFmpegError, ValueError)
"""Raised for audio that cannot be decoded, converted or encoded; it becomes silence."""


class AudioWriter(Protocol):
    """Makes output packets from input packets; raises one of `DAMAGED` for a packet that cannot be used."""

    def silence(self, until_s: float) -> Iterator[AudioPacket]:
        """Yield silence from the end of the last call until `until_s`."""
        ...

    def packets(self, packet: AudioPacket, offset_s: float) -> Iterator[AudioPacket]:
        """Yield the output of a packet whose time in the output is `offset_s` after its own time."""
        ...

    def rest(self) -> Iterator[AudioPacket]:
        """Yield the packets that are still buffered."""
        ...


class AudioCopy:
    """Copies packets; cannot write silence."""

    def __init__(self, stream: AudioStream, target: av.container.OutputContainer) -> None:
        """Add a track to the output."""
        context = stream.codec_context
        is_adts = context.codec.canonical_name == "aac" and not context.extradata  # the framing of broadcasts
        self._framing = av.bitstream.BitStreamFilterContext("aac_adtstoasc", stream) if is_adts else None
        self._output = target.add_stream_from_template(stream)

    def silence(self, until_s: float) -> Iterator[AudioPacket]:
        """Yield nothing."""
        return iter(())

    def packets(self, packet: AudioPacket, offset_s: float) -> Iterator[AudioPacket]:
        """Yield the packet, in the framing of files."""
        for each in self._framing.filter(packet) if self._framing else [packet]:
            if each.pts is None or each.dts is None or not each.time_base:
                continue
            offset = round(offset_s / each.time_base)
            each.pts, each.dts = each.pts + offset, each.dts + offset
            each.stream = self._output
            yield each

    def rest(self) -> Iterator[AudioPacket]:
        """Yield nothing."""
        return iter(())


class AudioEncoder:
    """Decodes audio and encodes it with another codec; fills gaps with silence."""

    def __init__(self, stream: AudioStream, target: av.container.OutputContainer, encoder: str, *, has_timestamps: bool) -> None:
        """Add a track to the output.

        Args:
            stream: Is decoded.
            target: Is written.
            encoder: FFmpeg's name of the encoder.
            has_timestamps: Whether packets of the output have timestamps; without them, all gaps are filled with silence.
        """
        codec = av.Codec(encoder, "w")
        rates = codec.audio_rates or [stream.sample_rate]
        rate = min(rates, key=lambda rate: abs(rate - stream.sample_rate))
        self._output = cast("AudioStream", target.add_stream(encoder, rate=rate))
        self._encoder = self._output.codec_context
        self._encoder.layout = "mono" if stream.channels == 1 else "stereo"
        self._format = next(each.name for each in codec.audio_formats or () if each.name in _FORMATS)
        self._encoder.format = self._format
        self._decoder = stream.codec_context
        self._offset_s = 0.0
        self._resampler: av.AudioResampler | None = None
        self._end = 0
        """Where the encoded audio ends, in samples of the output."""
        self._longest_filled_s = _LEAD_IN_S if has_timestamps else inf
        self._longest_silence_s = _LONGEST_GAP_S if has_timestamps else inf

    def silence(self, until_s: float) -> Iterator[AudioPacket]:
        """Yield silence until a little before `until_s`, because decoders may begin early."""
        rate, size = self._encoder.sample_rate, self._frame_size
        end = int(until_s * rate) - 3 * size
        if end - self._end > self._longest_silence_s * rate:
            self._end = end - end % size
        yield from self._silence_until(end - size + 1, step=size)

    def _silence_until(self, end: int, step: int) -> Iterator[AudioPacket]:
        """Yield silence in frames of `step` samples; the last one begins before `end`."""
        channels = self._encoder.layout.nb_channels
        is_planar = self._format.endswith("p")
        samples = np.zeros((channels, step) if is_planar else (1, channels * step), np.float32)
        while self._end < end:
            frame = av.AudioFrame.from_ndarray(samples, format=self._format, layout=self._encoder.layout.name)
            frame.sample_rate, frame.pts = self._encoder.sample_rate, self._end
            frame.time_base = Fraction(1, frame.sample_rate)
            self._end += step
            yield from self._output.encode(frame)

    def packets(self, packet: AudioPacket, offset_s: float) -> Iterator[AudioPacket]:
        """Yield the packets of the decoded and encoded audio."""
        self._offset_s = offset_s
        for frame in self._decoder.decode(packet):
            yield from self._encode(frame)

    def rest(self) -> Iterator[AudioPacket]:
        """Yield what decoder, resampler and encoder still hold."""
        for frame in self._decoder.decode(None):
            yield from self._encode(frame)
        if self._resampler is not None:
            for resampled in self._resampler.resample(None):
                yield from self._output.encode(resampled)
        yield from self._output.encode(None)

    def _encode(self, frame: av.AudioFrame) -> Iterator[AudioPacket]:
        if frame.sample_rate not in _RATES:
            return
        if frame.pts is not None and frame.time_base is not None:
            frame.pts = round((frame.pts * frame.time_base + Fraction(self._offset_s)) * frame.sample_rate)
            frame.time_base = Fraction(1, frame.sample_rate)
        try:
            resampled = self._current_resampler().resample(frame)
        except ValueError:  # its sample rate or its channels have changed
            self._resampler = None
            resampled = self._current_resampler().resample(frame)
        for each in resampled:
            yield from self._encode_in_place(each)

    def _encode_in_place(self, frame: av.AudioFrame) -> Iterator[AudioPacket]:
        """Yield a frame, after the silence that is missing before it."""
        rate = self._encoder.sample_rate
        start = self._end if frame.pts is None or frame.time_base is None else round(frame.pts * frame.time_base * rate)
        if 0 < start - self._end <= self._longest_filled_s * rate:
            size = self._frame_size
            yield from self._silence_until(start - size + 1, step=size)
            if start > self._end:
                yield from self._silence_until(start, step=start - self._end)
        elif self._longest_filled_s == inf and self._end - start > _OVERLAP_S * rate:
            return
        self._end = max(self._end, start) + frame.samples
        yield from self._output.encode(frame)

    @property
    def _frame_size(self) -> int:
        return self._encoder.frame_size or _FRAME_SAMPLES

    def _current_resampler(self) -> av.AudioResampler:
        if self._resampler is None:
            self._resampler = av.AudioResampler(self._format, self._encoder.layout, self._encoder.sample_rate)
        return self._resampler
