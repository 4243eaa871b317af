"""Run the ffmpeg program to receive protocols that PyAV's FFmpeg does not support."""

import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import Final

from maskstream.sources.limits import Allowance, LimitReached

_QUERY_TIMEOUT_S: Final = 10.0
_END_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.1
"""Interval at which a waiting read checks whether the source was closed."""
_WATCHDOG_SCRIPT: Final = """
IFS= read -r line
{ printf 'ffconcat version 1.0\n%s\n' "$line" | "$@"; echo "ended $?" >&2; } &
exec >&- 2>&-
read -r line
kill -9 0
"""
"""Run a program until standard input ends, as it does when this process ends. The first line of standard input is its input."""
_ENDED_NORMALLY: Final = "ended 0"
_MAX_LOG_BYTES: Final = 8192
"""Bytes of the program's standard error that are kept."""


@cache
def ffmpeg_with(protocol: str) -> str | None:
    """Return the path of the ffmpeg program if it reads a protocol; None if it does not, or is not installed."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    try:
        command = [program, "-hide_banner", "-protocols"]
        listed = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_QUERY_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    inputs, _, _ = listed.stdout.partition("Output:")
    return program if re.search(rf"^\s+{protocol}$", inputs, re.MULTILINE) else None


class FfmpegRelay:
    """A running ffmpeg as a file for `av.open`: the packets of the first video stream in NUT, without re-encoding.

    The program gets the URL through its standard input, because process lists show command lines. A shell watches the program
    and ends it when this process ends, also after a crash.
    """

    name = "relay"

    def __init__(
        self, program: str, url: str, options: Mapping[str, str], allowance: Allowance, reason: Callable[[str], LimitReached]
    ) -> None:
        """Start the program.

        Args:
            program: Path of ffmpeg.
            url: URL to read; one line.
            options: FFmpeg options with the whitelists of protocols and formats.
            allowance: Limits and counts what arrives.
            reason: Returns the error for the output of a program that failed.

        Raises:
            LimitReached: It cannot be started.
        """
        self._allowance = allowance
        self._reason = reason
        self._log = b""
        self._has_ended = False
        protocols, formats = options["protocol_whitelist"], options["format_whitelist"]
        allowed = ["-protocol_whitelist", f"pipe,{protocols}", "-format_whitelist", f"concat,{formats}"]
        reading = ["-f", "concat", "-safe", "0", "-i", "pipe:0", "-map", "0:v:0"]
        command = [program, "-hide_banner", "-v", "error", "-nostats", *allowed, *reading]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _WATCHDOG_SCRIPT, "sh", *command, "-c", "copy", "-flush_packets", "1", "-f", "nut", "pipe:1"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl+C reaches this process only, which then ends ffmpeg
            )
        except OSError as error:
            raise LimitReached(f"the program {program} cannot be started: {error.strerror}", is_final=False) from None
        quoted = url.replace("'", r"'\''")
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(f"file '{quoted}'\n".encode())
            self._process.stdin.flush()

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; nothing at the end.

        Raises:
            LimitReached: A limit was reached, or the program failed; raised once.
        """
        if self._has_ended or self._allowance.is_used_up:
            return b""
        try:
            chunk = self._wait_for_chunk(size)
            self._allowance.received(len(chunk))
        except LimitReached:
            self._has_ended = True
            raise
        self._has_ended = not chunk
        return chunk

    def close(self) -> None:
        """Kill the program and wait until it has ended; may be called twice."""
        self._has_ended = True
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_TIMEOUT_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _wait_for_chunk(self, size: int) -> bytes:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        output = self._process.stdout.fileno()
        errors = self._process.stderr.fileno()
        waiting = select.poll()
        waiting.register(output, select.POLLIN)
        waiting.register(errors, select.POLLIN)
        while not self._allowance.is_used_up:
            if self._allowance.is_late:
                raise self._allowance.late()
            ready = [descriptor for descriptor, _ in waiting.poll(1000 * min(_POLL_S, float(self._allowance)))]
            if output in ready:
                return os.read(output, size) or self._ended()
            if ready and not self._read_log():
                waiting.unregister(errors)
        return b""

    def _read_log(self) -> bool:
        """Keep the last bytes of the program's standard error; return whether more may follow."""
        assert self._process.stderr is not None
        written = os.read(self._process.stderr.fileno(), _MAX_LOG_BYTES)
        self._log = (self._log + written)[-_MAX_LOG_BYTES:]
        return bool(written)

    def _ended(self) -> bytes:
        """Return nothing if the program ended normally; else raise why it failed."""
        while self._read_log():
            pass
        log = self._log.decode(errors="replace")
        if log.rstrip().endswith(_ENDED_NORMALLY):
            return b""
        raise self._reason(log)
