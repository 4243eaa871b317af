"""Carry the sound of a file into its annotated copy."""

import sys
from collections.abc import Generator, Iterator
from typing import Final

import av
from av.audio.stream import AudioStream
from loguru import logger

from maskstream.io.demuxing import demuxed
from maskstream.io.local_media import open_local
from maskstream.sinks.audio_encoding import DAMAGED, AudioCopy, AudioEncoder, AudioPacket, AudioWriter
from maskstream.sinks.audio_sync import AROUND_S, AudioSync, in_step
from maskstream.sinks.video_formats import Container
from maskstream.types import SourceInfo

_LATE_S: Final = 0.4
"""Sound that starts later than this is led in by silence: a fragmented MP4 cannot begin before all of its tracks do."""
_EARLY_S: Final = 0.1
"""Encoders begin with so much that is not heard."""
_REFUSED: Final = (av.error.InvalidDataError, av.error.ArgumentError)
"""What a container says of a packet that does not belong into it; anything else is the trouble of the file that is written."""


class AudioTrack:
    """Reads the sound of a file a second time and hands it on, packet by packet, in step with the picture.

    The picture is what matters: sound that is damaged is left out, and so is what lies outside the picture. Each is said once.
    """

    def __init__(
        self, info: SourceInfo, zero_s: float, lasts_s: float | None, target: av.container.OutputContainer, kind: Container
    ) -> None:
        """Open the best sound of a file.

        Args:
            info: The file.
            zero_s: The `time_s` of the file that is 0 in the output.
            lasts_s: How long the picture lasts from there, where that is known.
            target: What is written.
            kind: Says what its sound may be.

        Raises:
            LookupError: There is no sound that can be read, or none beside the picture.
        """
        self._name = info.source_id
        self._target = target
        self._origin_s = float(info.origin_s) + zero_s
        self._times = AudioSync()
        self._last_dts = -sys.maxsize if kind.has_times else -1
        self._is_silent = True
        """Until the first piece of sound."""
        self._damaged = False
        self._is_hurried = False
        self._input = open_local(info.path or "")
        try:
            self._stream = self._best_stream()
            self._demuxed = self._demux()
            self._packets = in_step(self._demuxed, self._timing)
            self._waiting: AudioPacket | None = self._first_beside_the_image(lasts_s)
            self._starts_s, _ = self._timing(self._waiting)
            is_copied = kind.copies(self._stream.codec_context.codec.canonical_name, target)
            if is_copied and self._starts_s <= _LATE_S:
                self._writer: AudioWriter = AudioCopy(self._stream, target)
            else:
                self._writer = AudioEncoder(self._stream, target, kind.sound_encoder, has_times=kind.has_times)
        except BaseException:
            self._input.close()
            raise

    def advance(self, own_s: float, shown_s: float) -> None:
        """Hand on the sound up to the next frame.

        Args:
            own_s: The frame's own time.
            shown_s: When it is shown in the output; later where the source began anew.
        """
        self._times.frame(own_s, shown_s)
        self._write(shown_s)

    def finish(self, end_s: float) -> None:
        """Hand on what is left, but nothing that begins long after the picture has ended."""
        self._write(end_s + AROUND_S)
        self._mux(self._writer.rest())
        if self._waiting is not None:
            logger.warning("{}: the sound goes on after the picture, at {:.1f} s; it ends there in the copy", self._name, end_s)

    def hurry(self) -> None:
        """Hand on no more from now on. May be called from a signal handler or another thread."""
        self._is_hurried = True

    def close(self) -> None:
        """Close the file that is read."""
        self._demuxed.close()
        self._input.close()

    def _best_stream(self) -> AudioStream:
        stream = self._input.streams.best("audio")
        if not isinstance(stream, AudioStream) or stream.codec_context is None or not stream.sample_rate:
            raise LookupError(self._name)
        return stream

    def _first_beside_the_image(self, end_s: float | None) -> AudioPacket:
        """Return the first packet that is not heard before the picture; raise LookupError where there is none, or only later."""
        packet = first = next(self._packets, None)
        while packet is not None and sum(self._timing(packet)) < -_EARLY_S:
            packet = next(self._packets, None)
        if packet is None or (end_s is not None and self._timing(packet)[0] > end_s + AROUND_S):
            if first is not None:
                logger.warning("{}: its sound lies outside the picture and is left out", self._name)
            raise LookupError(self._name)
        if packet is not first:
            logger.warning("{}: the sound before the picture is left out", self._name)
        return packet

    def _write(self, until_s: float) -> None:
        if self._is_silent:
            self._mux(self._writer.silence(min(until_s, self._starts_s)))
        while not self._is_hurried and (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            own_s, _ = self._timing(packet)
            heard_s = self._times.heard_s(own_s)
            if heard_s is None or heard_s >= until_s:
                return
            self._waiting = None
            self._is_silent = False
            self._mux(self._writer.packets(packet, heard_s - own_s - self._origin_s))

    def _mux(self, made: Iterator[AudioPacket]) -> None:
        """Write packets, but for those that run back in time or cannot be made: both come of damaged sound."""
        try:
            packets = list(made)
        except DAMAGED:
            self._say_that_it_is_damaged()
            return
        for packet in packets:
            if (dts := packet.dts or 0) <= self._last_dts:
                continue
            self._last_dts = dts
            try:
                self._target.mux(packet)
            except _REFUSED:
                self._say_that_it_is_damaged()

    def _say_that_it_is_damaged(self) -> None:
        if not self._damaged:
            self._damaged = True
            logger.warning("{}: some of its sound is damaged and left out", self._name)

    def _timing(self, packet: AudioPacket) -> tuple[float, float]:
        """Return when a packet starts, in the time of the output, and how long it lasts, in seconds."""
        unit_s = packet.time_base
        return float((packet.pts or 0) * unit_s) - self._origin_s, float((packet.duration or 0) * unit_s)

    def _demux(self) -> Generator[AudioPacket, None, None]:
        packets = demuxed(self._input, self._stream)
        while True:
            try:
                packet = next(packets)
            except (StopIteration, av.FFmpegError):  # damaged sound ends early; the picture's reader says so
                return
            if packet.pts is not None and packet.time_base:
                yield packet
