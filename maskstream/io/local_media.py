"""Open local video files. A playlist or list of files may only name files in its own folder."""

from collections.abc import Mapping
from errno import EACCES
from pathlib import Path
from typing import BinaryIO, Final

import av
from av import error as av_error
from av.codec.hwaccel import HWAccel
from loguru import logger

from maskstream.io.ffmpeg_whitelists import PLAYLISTS, plain_formats, whitelist
from maskstream.redaction import redact

_FILE: Final = "file:"
_SCRIPT: Final = "concat"


class LeadsAway(av_error.PermissionError):
    """A playlist or list of files names something outside its folder; `strerror` has the name and advice."""

    def __init__(self, what: str) -> None:
        """Create the message with the name."""
        advice = "a list in a file may name files in its own folder only; give the URL itself, or put the files beside it"
        super().__init__(EACCES, f"it names {redact(what)}: {advice}", "")


def open_local(path: str, hwaccel: HWAccel | None = None) -> av.container.InputContainer:
    """Open a local file for reading, with audio and video.

    FFmpeg may read this file only. Of lists of files, HLS, DASH and `ffconcat` are read, within their own folder.

    Args:
        path: A local file.
        hwaccel: From `gpu_video.decoder`, for the video; lists of files are decoded by the CPU.

    Raises:
        LeadsAway: The file is a list that names something outside its folder.
        av.FFmpegError: FFmpeg cannot read the file.
    """
    name = f"{_FILE}{path}"  # so that FFmpeg reads a colon in the name as part of it
    try:
        return av.open(name, metadata_errors="replace", options=whitelist("file", plain_formats()), hwaccel=hwaccel)
    except av_error.ArgumentError as error:  # of FFmpeg for a format that is not in the whitelist, and for some damage
        refused = error
    try:
        return _open_playlist(path)
    except av_error.ArgumentError:
        pass
    try:
        return av.open(name, metadata_errors="replace", options=whitelist("file", f"{_SCRIPT},{plain_formats()}"))
    except av_error.ArgumentError:
        raise refused from None
    except av_error.PermissionError:
        raise LeadsAway("a path that is absolute, contains .., or has other characters than letters, digits, - and _") from None


def _open_playlist(path: str) -> av.container.InputContainer:
    with Path(path).open("rb") as playlist:
        return av.open(
            _Named(playlist, f"{_FILE}{path}"),
            "r",
            metadata_errors="replace",
            options=whitelist("list", f"{PLAYLISTS},{plain_formats()}"),
            io_open=_Pieces(path),
        )


class _Named:
    """An open file with the name that paths in it are relative to."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class _Pieces:
    """Opens the files that a playlist names, in the folder of the playlist and below."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = Path(path).resolve().parent
        self._has_refused = False

    def __call__(self, url: str, _flags: int, _options: Mapping[str, str]) -> "BinaryIO | _Nothing":
        """Open a part for FFmpeg.

        Raises:
            LeadsAway: The part is outside the folder. It is raised once, because PyAV prints a second exception.
        """
        name = url.removeprefix(_FILE)
        target = Path(name).resolve()
        if "://" not in name and target.is_relative_to(self._folder):
            try:
                return target.open("rb")
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "not a valid name"
                logger.warning("{}: a part is left out: {}: {}", self._path, name, why)
                return _Nothing()
        if self._has_refused:
            return _Nothing()
        self._has_refused = True
        raise LeadsAway(name.removeprefix("//"))


class _Nothing:
    """A part without content."""

    def read(self, _size: int) -> bytes:
        return b""

    def close(self) -> None:
        """Do nothing."""
