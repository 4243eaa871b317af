"""Carry the sound of a file into its annotated copy."""

import sys
from collections.abc import Generator, Iterable
from fractions import Fraction
from itertools import chain
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.stream import AudioStream

COPIED_CODECS = frozenset({"aac", "mp3", "opus", "flac"})
"""What browsers play out of an MP4; any other sound is turned into AAC."""

LATE_S = 0.4
"""Sound that starts later than this is led in by silence: a fragmented MP4 cannot begin before all of its tracks do."""

_FORMAT = "fltp"
_FRAME_SAMPLES = 1024

AudioPacket: TypeAlias = "av.Packet[Any]"  # generic for type checkers alone


class AudioTrack:
    """Reads the sound of a file a second time and hands it on, packet by packet, in step with the picture."""

    def __init__(self, path: str, origin_s: Fraction, target: av.container.OutputContainer) -> None:
        """Open the best sound of `path`; its timestamps are moved by `-origin_s`.

        Raises:
            LookupError: The file has no sound that can be read.
        """
        self._origin_s = origin_s
        self._target = target
        self._input = av.open(f"file:{path}", metadata_errors="replace")
        stream = self._input.streams.best("audio")
        if not isinstance(stream, AudioStream) or stream.codec_context is None or not stream.sample_rate:
            self._input.close()
            raise LookupError(path)
        demuxed = self._demux(stream)
        first = next(demuxed, None)
        start_s = 0.0 if first is None else _start_s(first) - float(origin_s)
        self._silent_until_s = start_s if start_s > LATE_S else 0.0
        packets = chain([] if first is None else [first], demuxed)
        if stream.codec_context.codec.canonical_name in COPIED_CODECS and not self._silent_until_s:
            self._output = target.add_stream_from_template(stream)
            self._packets = self._copied(packets, stream)
        else:
            rates = av.Codec("aac", "w").audio_rates or [stream.sample_rate]
            self._output = target.add_stream("aac", rate=min(rates, key=lambda rate: abs(rate - stream.sample_rate)))
            self._output.codec_context.layout = "mono" if stream.channels == 1 else "stereo"
            self._packets = self._encoded(packets)
        self._waiting: AudioPacket | None = None
        self._last_dts = -sys.maxsize

    def advance(self, until_s: float | None) -> None:
        """Hand on everything that starts before `until_s`, or all that is left where it is None."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            if until_s is not None and _start_s(packet) >= until_s:
                return
            self._waiting = None
            if (dts := packet.dts or 0) > self._last_dts:  # sound that runs back in time is damaged and left out
                self._last_dts = dts
                self._target.mux(packet)

    def close(self) -> None:
        """Close the file that is read."""
        self._packets.close()
        self._input.close()

    def _copied(self, packets: Iterable[AudioPacket], stream: AudioStream) -> Generator[AudioPacket, None, None]:
        context = stream.codec_context
        is_adts = context.codec.canonical_name == "aac" and not context.extradata  # the framing of broadcasts
        framing = av.bitstream.BitStreamFilterContext("aac_adtstoasc", stream) if is_adts else None
        for demuxed in packets:
            for packet in framing.filter(demuxed) if framing and demuxed.size else [demuxed]:
                if packet.dts is None or packet.pts is None:
                    continue
                shift = round(self._origin_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._output
                yield packet

    def _encoded(self, packets: Iterable[AudioPacket]) -> Generator[AudioPacket, None, None]:
        encoder = self._output.codec_context
        for silence in _silence(self._silent_until_s, encoder.layout, encoder.sample_rate):
            yield from self._output.encode(silence)
        resampler = av.AudioResampler(_FORMAT, encoder.layout, encoder.sample_rate)
        for frame in _decoded(packets):
            if frame.pts is not None and frame.time_base is not None:
                frame.pts = round((frame.pts * frame.time_base - self._origin_s) * frame.sample_rate)
                frame.time_base = Fraction(1, frame.sample_rate)
            for resampled in resampler.resample(frame):
                yield from self._output.encode(resampled)
        for resampled in resampler.resample(None):
            yield from self._output.encode(resampled)
        yield from self._output.encode(None)

    def _demux(self, stream: AudioStream) -> Generator[AudioPacket, None, None]:
        packets = self._input.demux(stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.FFmpegError):  # damaged sound ends early; the picture's reader says so
                return


def _decoded(packets: Iterable[AudioPacket]) -> Generator[av.AudioFrame, None, None]:
    for packet in packets:
        try:
            yield from packet.decode()  # type: ignore[misc]  # of an audio stream
        except av.FFmpegError:  # a damaged packet is a moment of silence
            continue


def _silence(until_s: float, layout: av.AudioLayout, rate: int) -> Generator[av.AudioFrame, None, None]:
    samples = np.zeros((layout.nb_channels, _FRAME_SAMPLES), np.float32)
    for pts in range(0, int(until_s * rate) - 3 * _FRAME_SAMPLES, _FRAME_SAMPLES):  # decoders may begin a little early
        frame = av.AudioFrame.from_ndarray(samples, format=_FORMAT, layout=layout.name)
        frame.pts, frame.sample_rate, frame.time_base = pts, rate, Fraction(1, rate)
        yield frame


def _start_s(packet: AudioPacket) -> float:
    return float((packet.pts or 0) * packet.time_base)
