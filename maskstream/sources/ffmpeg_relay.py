"""The program ffmpeg, which receives what PyAV's FFmpeg cannot and hands it on."""

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

_LONGEST_ANSWER_S: Final = 10.0
_LONGEST_END_S: Final = 5.0
_LOOK_S: Final = 0.1
"""How often one that waits looks whether it is still wanted."""
_WATCHED: Final = """
IFS= read -r line
{ printf 'ffconcat version 1.0\n%s\n' "$line" | "$@"; echo "ended $?" >&2; } &
exec >&- 2>&-
read -r line
kill -9 0
"""
"""Runs a program, with a line of standard input in its own, until standard input ends: as it does where this process does."""
_ENDED_WELL: Final = "ended 0"
_REMEMBERED: Final = 8192
"""Bytes of what the program writes about itself."""


@cache
def program_with(protocol: str) -> str | None:
    """Return the path of the program ffmpeg where it reads a protocol; None where there is none that does."""
    program = shutil.which("ffmpeg")
    if program is None:
        return None
    try:
        command = [program, "-hide_banner", "-protocols"]
        listed = subprocess.run(  # noqa: S603
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    inputs, _, _ = listed.stdout.partition("Output:")
    return program if re.search(rf"^\s+{protocol}$", inputs, re.MULTILINE) else None


class Relay:
    """A running ffmpeg, for `av.open` to read: the packets of the first video stream, not encoded anew, as NUT.

    The URL reaches the program through its standard input: lists of processes show command lines. A shell watches over it: the
    program ends with this process, however that ends.
    """

    name = "relay"

    def __init__(
        self, program: str, url: str, options: Mapping[str, str], allowance: Allowance, why: Callable[[str], LimitReached]
    ) -> None:
        """Start the program.

        Args:
            program: Its path.
            url: Of one line.
            options: Of FFmpeg: what it may open.
            allowance: Told of all that comes; has the time that is left.
            why: Makes of what the program wrote what is to be said.

        Raises:
            LimitReached: It cannot be started.
        """
        self._allowance = allowance
        self._why = why
        self._written = b""
        self._has_ended = False
        protocols, formats = options["protocol_whitelist"], options["format_whitelist"]
        allowed = ["-protocol_whitelist", f"pipe,{protocols}", "-format_whitelist", f"concat,{formats}"]
        reading = ["-f", "concat", "-safe", "0", "-i", "pipe:0", "-map", "0:v:0"]
        command = [program, "-hide_banner", "-v", "error", "-nostats", *allowed, *reading]
        try:
            self._process = subprocess.Popen(  # noqa: S603
                ["/bin/sh", "-c", _WATCHED, "sh", *command, "-c", "copy", "-flush_packets", "1", "-f", "nut", "pipe:1"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl+C is for this program, which then ends that one
            )
        except OSError as error:
            raise LimitReached(f"the program {program} cannot be started: {error.strerror}", is_final=False) from None
        quoted = url.replace("'", r"'\''")
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(f"file '{quoted}'\n".encode())
            self._process.stdin.flush()

    def read(self, size: int) -> bytes:
        """Return up to so many bytes, none at the end.

        Raises:
            LimitReached: The time is up, more came than may come before a picture, or the program failed; raised once.
        """
        if self._has_ended or self._allowance.is_used_up:
            return b""
        try:
            piece = self._piece(size)
            self._allowance.received(len(piece))
        except LimitReached:
            self._has_ended = True
            raise
        self._has_ended = not piece
        return piece

    def close(self) -> None:
        """End the program and wait for its end; may be called twice."""
        self._has_ended = True
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LONGEST_END_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def _piece(self, size: int) -> bytes:
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
            ready = [descriptor for descriptor, _ in waiting.poll(1000 * min(_LOOK_S, float(self._allowance)))]
            if output in ready:
                return os.read(output, size) or self._end()
            if ready and not self._hears():
                waiting.unregister(errors)
        return b""

    def _hears(self) -> bool:
        """Keep what the program has written about itself last; return whether there may be more."""
        assert self._process.stderr is not None
        written = os.read(self._process.stderr.fileno(), _REMEMBERED)
        self._written = (self._written + written)[-_REMEMBERED:]
        return bool(written)

    def _end(self) -> bytes:
        while self._hears():
            pass
        text = self._written.decode(errors="replace")
        if text.rstrip().endswith(_ENDED_WELL):
            return b""
        raise self._why(text)
