"""Opens video files of this machine; a playlist or a list of files leads to files in its own folder alone."""

from collections.abc import Mapping
from errno import EACCES
from pathlib import Path
from typing import BinaryIO, Final

import av
from av import error as av_error
from loguru import logger

from maskstream.io.ffmpeg_whitelists import PLAYLISTS, plain_formats, whitelist
from maskstream.redaction import redact

_FILE: Final = "file:"
_SCRIPT: Final = "concat"


class LeadsAway(av_error.PermissionError):
    """A playlist or a list of files names what it may not lead to; `strerror` says what, and what to do."""

    def __init__(self, what: str) -> None:
        """Say what it leads to."""
        advice = "a list in a file may lead to files in its own folder alone; give the URL itself, or put the files beside it"
        super().__init__(EACCES, f"it leads to {redact(what)}: {advice}", "")


def open_local(path: str) -> av.container.InputContainer:
    """Open a local file for reading, with sound and picture.

    FFmpeg may read that file and no other. Of lists of files, HLS, DASH and `ffconcat` are read, within their own folder.

    Raises:
        LeadsAway: It is a list that names something else.
        av.FFmpegError: It is nothing that FFmpeg reads.
    """
    name = f"{_FILE}{path}"  # a colon in a name is no protocol
    try:
        return av.open(name, metadata_errors="replace", options=whitelist("file", plain_formats()))
    except av_error.ArgumentError as error:  # what FFmpeg says of a format that it may not read, and of some damage
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
        raise LeadsAway("a path that is absolute, goes up, or has other characters than letters, digits, - and _") from None


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
    """An open file, and the name that paths in it count from."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self.name = name
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class _Pieces:
    """Opens what a playlist names, where that is in the playlist's folder or below."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder = Path(path).resolve().parent
        self._has_refused = False

    def __call__(self, url: str, _flags: int, _options: Mapping[str, str]) -> "BinaryIO | _Nothing":
        """Open a piece for FFmpeg.

        Raises:
            LeadsAway: It is somewhere else; only once, for PyAV prints a second exception.
        """
        name = url.removeprefix(_FILE)
        target = Path(name).resolve()
        if "://" not in name and target.is_relative_to(self._folder):
            try:
                return target.open("rb")
            except (OSError, ValueError) as error:
                why = error.strerror if isinstance(error, OSError) else "no valid name"
                logger.warning("{}: a part of it is left out: {}: {}", self._path, name, why)
                return _Nothing()
        if self._has_refused:
            return _Nothing()
        self._has_refused = True
        raise LeadsAway(name.removeprefix("//"))


class _Nothing:
    """A piece that has ended."""

    def read(self, _size: int) -> bytes:
        return b""

    def close(self) -> None:
        """Do nothing."""
