"""Carry the audio of a file into its annotated video."""

import sys
from collections.abc import Generator, Iterator
from typing import Final

import av
from av.audio.stream import AudioStream
from loguru import logger

from maskstream.io.demuxing import demuxed
from maskstream.io.local_media import open_local
from maskstream.sinks.audio_encoding import DAMAGED, AudioCopy, AudioEncoder, AudioPacket, AudioWriter
from maskstream.sinks.audio_sync import MARGIN_S, AudioSync, drop_stray_packets
from maskstream.sinks.video_formats import Container
from maskstream.types import SourceInfo

_LATE_S: Final = 0.4
"""Audio that starts later than this is preceded by silence: a fragmented MP4 cannot begin before all of its tracks do."""
_EARLY_S: Final = 0.1
"""Encoders begin with up to this much audio that is not played."""
_REFUSED: Final = (av.error.InvalidDataError, av.error.ArgumentError)
"""Raised by a muxer for a damaged packet. Any other error concerns the output file."""


class AudioTrack:
    """Reads the audio of a file a second time and writes it packet by packet, synchronised with the video.

    Damaged audio, and audio before or after the video, is left out; each is logged once.
    """

    def __init__(
        self, info: SourceInfo, zero_s: float, lasts_s: float | None, target: av.container.OutputContainer, kind: Container
    ) -> None:
        """Open the best audio stream of a file.

        Args:
            info: The file.
            zero_s: The `time_s` of the file that is 0 in the output.
            lasts_s: The duration of the video from there, where it is known.
            target: Is written.
            kind: The format of `target`.

        Raises:
            LookupError: The file has no readable audio, or none during the video.
        """
        self._name = info.source_id
        self._target = target
        self._origin_s = float(info.origin_s) + zero_s
        self._sync = AudioSync()
        self._last_dts = -sys.maxsize if kind.has_timestamps else -1
        self._needs_silence = True
        """Until the first packet."""
        self._logged_damage = False
        self._is_hurried = False
        self._input = open_local(info.path or "")
        try:
            stream = self._input.streams.best("audio")
            if not isinstance(stream, AudioStream) or stream.codec_context is None or not stream.sample_rate:
                raise LookupError(self._name)
            self._stream = stream
            self._demuxed = self._demux()
            self._packets = drop_stray_packets(self._demuxed, self._timing)
            self._waiting: AudioPacket | None = self._first_during_video(lasts_s)
            self._starts_s, _ = self._timing(self._waiting)
            is_copied = kind.copies(self._stream.codec_context.codec.canonical_name, target)
            self._writer: AudioWriter
            if is_copied and self._starts_s <= _LATE_S:
                self._writer = AudioCopy(self._stream, target)
            else:
                self._writer = AudioEncoder(self._stream, target, kind.audio_encoder, has_timestamps=kind.has_timestamps)
        except BaseException:
            self._input.close()
            raise

    def advance(self, own_s: float, output_s: float) -> None:
        """Write the audio up to the next frame of the video.

        Args:
            own_s: The own time of the frame.
            output_s: Its time in the output; they differ where the source began again.
        """
        self._sync.add_frame(own_s, output_s)
        self._write(output_s)

    def finish(self, end_s: float) -> None:
        """Write the remaining audio, up to 2 s after the end of the video."""
        self._write(end_s + MARGIN_S)
        self._mux(self._writer.rest())
        if self._waiting is not None:
            logger.warning(
                "{}: the audio continues after the video, which ends at {:.1f} s; it is cut {:g} s later",
                self._name,
                end_s,
                MARGIN_S,
            )

    def hurry(self) -> None:
        """Write no more audio. May be called by a signal handler or another thread."""
        self._is_hurried = True

    def close(self) -> None:
        """Close the file that is read."""
        self._demuxed.close()
        self._input.close()

    def _first_during_video(self, end_s: float | None) -> AudioPacket:
        """Return the first packet that does not end before the video begins.

        Raises:
            LookupError: None exists, or it starts after the end of the video.
        """
        packet = first = next(self._packets, None)
        while packet is not None and sum(self._timing(packet)) < -_EARLY_S:
            packet = next(self._packets, None)
        if packet is None or (end_s is not None and self._timing(packet)[0] > end_s + MARGIN_S):
            if first is not None:
                logger.warning("{}: its audio is before or after the video and is left out", self._name)
            raise LookupError(self._name)
        if packet is not first:
            logger.warning("{}: the audio before the video is left out", self._name)
        return packet

    def _write(self, until_s: float) -> None:
        if self._needs_silence:
            self._mux(self._writer.silence(min(until_s, self._starts_s)))
        while not self._is_hurried:
            packet = self._waiting or next(self._packets, None)
            if packet is None:
                return
            self._waiting = packet
            own_s, _ = self._timing(packet)
            output_s = self._sync.audio_output_s(own_s)
            if output_s is None or output_s >= until_s:
                return
            self._waiting = None
            self._needs_silence = False
            self._mux(self._writer.packets(packet, output_s - own_s - self._origin_s))

    def _mux(self, made: Iterator[AudioPacket]) -> None:
        """Write packets. Damaged audio gives packets that run back in time, and packets that cannot be made: leave those out."""
        try:
            packets = list(made)
        except DAMAGED:
            self._log_damage()
            return
        for packet in packets:
            dts = packet.dts or 0
            if dts <= self._last_dts:
                continue
            self._last_dts = dts
            try:
                self._target.mux(packet)
            except _REFUSED:
                self._log_damage()

    def _log_damage(self) -> None:
        if not self._logged_damage:
            self._logged_damage = True
            logger.warning("{}: some of its audio is damaged and left out", self._name)

    def _timing(self, packet: AudioPacket) -> tuple[float, float]:
        """Return the start of a packet in seconds, where 0 is the beginning of the output, and its duration in seconds."""
        unit_s = packet.time_base
        return float((packet.pts or 0) * unit_s) - self._origin_s, float((packet.duration or 0) * unit_s)

    def _demux(self) -> Generator[AudioPacket, None, None]:
        packets = demuxed(self._input, self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):  # damaged audio ends early; the reader of the video reports it
                return
            if packet.pts is not None and packet.time_base:
                yield packet
