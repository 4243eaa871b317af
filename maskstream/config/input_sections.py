"""Define the settings of sources and of the flow of frames, section by section."""

from typing import Annotated, Literal

from pydantic import Field

from maskstream.config.values import Count, Positive, Section


class StreamConfig(Section):
    """The flow of frames."""

    batch_size: Count | None = Field(
        default=None,
        description=(
            "The maximum number of frames in a batch. null: the fastest (8 on a GPU; 1 on a CPU, with OpenVINO 2 per "
            "core, up to 8), times detector.every divided by stream.stride."
        ),
    )
    stride: Count = Field(
        default=1,
        description="Analyse every Nth frame. With N of at least detector.every the detector runs on each analysed frame.",
    )
    max_frames: Count | None = Field(
        default=None, description="Stop each source after N frames, analysed or not. null: read it to its end."
    )
    realtime: bool = Field(
        default=False, description="Play files at their own speed. Frames that arrive too fast are dropped, as from a camera."
    )
    max_staleness_s: Positive = Field(
        default=2.0, description="Drop a camera's frame that is older than this, in seconds, when its turn comes."
    )
    health_s: Positive = Field(
        default=10.0, description="The interval, in seconds, of the log lines on the state of each source."
    )


class WebcamConfig(Section):
    """The mode requested from a webcam. A device without this mode uses the nearest one."""

    width: Count | None = Field(default=1280, description="The requested width in pixels. null: the default of the device.")
    height: Count | None = Field(default=720, description="The requested height in pixels. null: the default of the device.")
    fps: Positive | None = Field(default=30.0, description="The requested frames per second. null: the default of the device.")
    mirror: bool = Field(
        default=False,
        description="Mirror the frames left to right. Coordinates in records are those of the mirrored frame.",
    )


class NetworkConfig(Section):
    """Connections to cameras and servers."""

    transport: Literal["auto", "tcp", "udp"] = Field(
        default="auto",
        description=(
            "The transport of RTSP. tcp: complete frames. udp: less delay, damaged frames where packets are lost. "
            "auto: tcp; udp where tcp is refused or gives nothing for half of network.open_timeout_s."
        ),
    )
    verify_tls: Literal["auto", True, False] = Field(
        default="auto",
        description=(
            "Check certificates. auto: those of https:// and rtmps://, but not of rtsps://, because most cameras have "
            "a self-signed certificate."
        ),
    )
    ca_file: str | None = Field(
        default=None,
        description="A PEM file with the trusted certificates (of an authority, or of the camera). null: those of the system.",
    )
    open_timeout_s: Positive = Field(
        default=10.0,
        description=(
            "The maximum time, in seconds, to connect and to detect the format; then the same time again for the "
            "first complete frame."
        ),
    )
    read_timeout_s: Positive = Field(
        default=10.0,
        description=(
            "The maximum time, in seconds, between two packets. For a live HLS playlist the duration of two segments is added."
        ),
    )
    max_frame_mb: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=64.0, description="The maximum number of megabytes before a frame is complete."
    )
    max_megapixels: Annotated[float, Field(gt=0, le=250)] = Field(
        default=64.0, description="The maximum size of a frame of a camera or server, in megapixels. Larger frames are refused."
    )
    keep_damaged: bool = Field(
        default=False,
        description="Keep frames of a camera with missing data. false: they are dropped and counted.",
    )
    snapshot_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        default=1.0,
        description="The interval, in seconds, of requests to a URL that returns one image. 0: request it once.",
    )
    max_reconnects: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="The maximum number of consecutive attempts to reconnect to a lost camera or webcam. null: no limit.",
    )


class ImagesConfig(Section):
    """Images and video files."""

    recursive: bool = Field(default=False, description="Also read the images and videos in subfolders of a folder.")
    max_megapixels: Annotated[float, Field(gt=0, le=500)] = Field(
        default=250.0,
        description="The maximum size of an image, or of a frame of a video file, in megapixels. Larger ones are refused.",
    )
