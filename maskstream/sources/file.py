"""Read video files of every container and codec that FFmpeg supports, through PyAV."""

from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISREG, S_ISSOCK

import av
from av.codec.hwaccel import HWAccel

from maskstream.config.schema import VideoConfig
from maskstream.errors import SourceOpenError
from maskstream.io.gpu_video import decoder
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
            source_id: Name of the source in records; None for the path.
            max_megapixels: Larger frames are refused.
            video: Deinterlacing, pixel aspect ratio and decoder; None: as the video states, by the CPU.

        Raises:
            SourceOpenError: The file does not exist, or contains no video that can be decoded.
        """
        origin = Origin(source_id or path, live=False, path=path, max_pixels=max_megapixels * 1e6, video=video)
        super().__init__(_open_container(path, decoder(video.decode_on) if video else None), origin)


def _open_container(path: str, hwaccel: HWAccel | None) -> av.container.InputContainer:
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceOpenError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise SourceOpenError(f"{path}: cannot be read: {error.strerror}; check the path and its permissions") from error
    except ValueError as error:
        raise SourceOpenError(f"{path}: not a valid path: {error}; check the value of --source") from error
    if S_ISCHR(status.st_mode) or S_ISBLK(status.st_mode):
        raise SourceOpenError(f"{path}: a device that is not a webcam; webcams are /dev/video0 and so on, or 0, 1 ...")
    if S_ISSOCK(status.st_mode):
        raise SourceOpenError(f"{path}: a socket; let its program write to a named pipe (mkfifo)")
    if not S_ISREG(status.st_mode):
        raise SourceOpenError(f"{path}: not a file; give a video file")
    if status.st_size == 0:
        raise SourceOpenError(f"{path}: the file is empty; give a video file")
    try:
        return open_local(path, hwaccel)
    except LeadsAway as error:
        raise SourceOpenError(f"{path}: {error.strerror}") from error
    except av.FFmpegError as error:
        raise SourceOpenError(f"{path}: not a video that FFmpeg can read: {error.strerror}; convert it with ffmpeg") from error
