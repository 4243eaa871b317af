"""Video files of every container and codec that FFmpeg reads, through PyAV."""

from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISREG, S_ISSOCK

import av

from maskstream.config.schema import VideoConfig
from maskstream.errors import SourceOpenError
from maskstream.io.local_media import LeadsAway, open_local
from maskstream.sources.video import Origin, VideoSource


class FileSource(VideoSource):
    """A local video file."""

    def __init__(
        self, path: str, source_id: str | None = None, max_megapixels: float = 250, video: VideoConfig | None = None
    ) -> None:
        """Open the file and decode its first frame.

        Args:
            path: A local file.
            source_id: Its name in records; None for the path.
            max_megapixels: Larger frames are refused.
            video: How its frames become pictures; None: as they say themselves.

        Raises:
            SourceOpenError: There is no such file, or no video in it that can be decoded.
        """
        origin = Origin(source_id or path, live=False, path=path, most_pixels=max_megapixels * 1e6, video=video)
        super().__init__(_open_container(path), origin)


def _open_container(path: str) -> av.container.InputContainer:
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceOpenError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise SourceOpenError(f"{path}: cannot be read: {error.strerror}; check the path and who may read it") from error
    except ValueError as error:
        raise SourceOpenError(f"{path}: no path: {error}; check what was given to --source") from error
    if S_ISCHR(status.st_mode) or S_ISBLK(status.st_mode):
        raise SourceOpenError(f"{path}: a device that gives no video; webcams are /dev/video0 and so on, or 0, 1 ...")
    if S_ISSOCK(status.st_mode):
        raise SourceOpenError(f"{path}: a socket; let its program write to a named pipe (mkfifo)")
    if not S_ISREG(status.st_mode):
        raise SourceOpenError(f"{path}: not a file; give a video file")
    if status.st_size == 0:
        raise SourceOpenError(f"{path}: the file is empty")
    try:
        return open_local(path)
    except LeadsAway as error:
        raise SourceOpenError(f"{path}: {error.strerror}") from error
    except av.FFmpegError as error:
        raise SourceOpenError(f"{path}: not a video that FFmpeg can read: {error.strerror}; convert it with ffmpeg") from error
