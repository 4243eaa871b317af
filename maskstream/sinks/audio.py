"""Carry the sound of a file into its annotated copy."""

from collections.abc import Generator
from fractions import Fraction
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream

COPIED_CODECS = frozenset({"aac", "mp3", "opus", "flac"})
"""What browsers play out of an MP4; any other sound is turned into AAC."""

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
        if stream.codec_context.codec.canonical_name in COPIED_CODECS:
            self._output = target.add_stream_from_template(stream)
            self._packets = self._copied(stream)
        else:
            rates = av.Codec("aac", "w").audio_rates or [stream.sample_rate]
            self._output = target.add_stream("aac", rate=min(rates, key=lambda rate: abs(rate - stream.sample_rate)))
            self._output.codec_context.layout = "mono" if stream.channels == 1 else "stereo"
            self._packets = self._encoded(stream)
        self._waiting: AudioPacket | None = None

    def advance(self, until_s: float | None) -> None:
        """Hand on everything that starts before `until_s`, or all that is left where it is None."""
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            if until_s is not None and _start_s(packet) >= until_s:
                return
            self._waiting = None
            self._target.mux(packet)

    def close(self) -> None:
        """Close the file that is read."""
        self._packets.close()
        self._input.close()

    def _copied(self, stream: AudioStream) -> Generator[AudioPacket, None, None]:
        for packet in self._demuxed(stream):
            if packet.dts is not None and packet.pts is not None:
                shift = round(self._origin_s / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = self._output
                yield packet

    def _encoded(self, stream: AudioStream) -> Generator[AudioPacket, None, None]:
        encoder = self._output.codec_context
        resampler = av.AudioResampler(encoder.format or "fltp", encoder.layout, encoder.sample_rate)
        for frame in self._decoded(stream):
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(self._origin_s / frame.time_base)
            for resampled in resampler.resample(frame):
                yield from self._output.encode(resampled)
        for resampled in resampler.resample(None):
            yield from self._output.encode(resampled)
        yield from self._output.encode(None)

    def _decoded(self, stream: AudioStream) -> Generator[av.AudioFrame, None, None]:
        for packet in self._demuxed(stream):
            try:
                yield from packet.decode()  # type: ignore[misc]  # of an audio stream
            except av.FFmpegError:  # a damaged packet is a moment of silence
                continue

    def _demuxed(self, stream: AudioStream) -> Generator[AudioPacket, None, None]:
        packets = self._input.demux(stream)
        while True:
            try:
                yield next(packets)
            except (StopIteration, av.FFmpegError):  # damaged sound ends early; the picture's reader says so
                return


def _start_s(packet: AudioPacket) -> float:
    return float((packet.pts or 0) * packet.time_base)
