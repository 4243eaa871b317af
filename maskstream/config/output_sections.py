"""Define the settings of the window, of files, of events and of privacy, section by section."""

from typing import Annotated, Literal

from pydantic import Field

from maskstream.config.values import (
    MAX_FACE_EVIDENCE,
    Blur,
    Deinterlace,
    MaskLabel,
    NotNegative,
    PixelAspect,
    Positive,
    Processor,
    ReadableBy,
    Section,
    Text,
)


class WindowConfig(Section):
    """The window."""

    picture_s: NotNegative = Field(default=2.0, description="The time, in seconds, that each image of a folder is shown.")
    snapshots: str = Field(default=".", description="The folder for screenshots, which the key s saves.")


class OverlayConfig(Section):
    """The annotations drawn on frames."""

    labels: bool = Field(default=True, description="Draw symbol, label and percentage at each face.")
    keypoints: bool = Field(default=False, description="Draw eyes and nose; with coco_resnet50 all 17 keypoints.")
    skeleton: bool = Field(default=False, description="Draw lines between the keypoints of a person (coco_resnet50 only).")
    zones: bool = Field(default=True, description="Draw outlines and names of zones.")


class WebhookConfig(Section):
    """A web server that receives events."""

    url: Annotated[str, Field(repr=False)] = Field(description="The address, http:// or https://.")
    secret: Annotated[str | None, Field(repr=False)] = Field(
        default=None, description="The key that signs each post, as in Standard Webhooks. null: posts are not signed."
    )
    name: Text | None = Field(
        default=None,
        description=(
            "A name for the receiver. Queued messages are delivered to the receiver of this name when its address changes."
        ),
    )


class EventsConfig(Section):
    """Events, and the receivers that they are sent to. The option --events writes them to a file."""

    labels: list[MaskLabel] = Field(
        default=["no_mask", "incorrect"],
        description="The steady labels that begin an event. incorrect needs classifier.incorrect_as: incorrect.",
    )
    min_seconds: NotNegative = Field(
        default=1.0, description="The time, in seconds, that a person keeps the steady label before an event begins."
    )
    min_evidence: Annotated[float, Field(ge=0, le=MAX_FACE_EVIDENCE)] = Field(
        default=2.0,
        description=(
            "The evidence, in log-odds, that a tracked object is a face, before an event begins. It grows with each "
            "detection in which the face is well seen, by 1 at most, and falls where the face is not. 0: the steady "
            "label is enough."
        ),
    )
    update_s: Positive = Field(default=10.0, description="The interval, in seconds, of the updates of an event until it ends.")
    mqtt: Annotated[str | None, Field(repr=False)] = Field(
        default=None,
        description=(
            "The MQTT broker: mqtt://user:${MQTT_PASSWORD}@host:1883, or mqtts:// with TLS. ${NAME} is replaced by "
            "the environment variable."
        ),
    )
    mqtt_name: Text | None = Field(
        default=None,
        description="A name for the broker. Queued messages are delivered to the broker of this name when its address changes.",
    )
    webhooks: list[WebhookConfig] = Field(
        default=[],
        description=(
            'The web servers that records are posted to: [{url: "https://host/path", secret: "${WEBHOOK_SECRET}", '
            "name: desk}]. secret and name are optional."
        ),
    )
    ca_file: str | None = Field(
        default=None,
        description=(
            "A PEM file with certificates trusted for mqtts:// and https:// receivers, in addition to those of the system."
        ),
    )
    queue: str | None = Field(
        default=None,
        description="The file that keeps undelivered messages. null: maskstream/events.db in $XDG_STATE_HOME (~/.local/state).",
    )
    queue_mb: Positive = Field(
        default=64.0,
        description=(
            "The maximum size of the queue of each receiver, in megabytes. When it is full, the oldest messages are "
            "deleted, counted and logged."
        ),
    )
    unclaimed_days: NotNegative = Field(
        default=30.0,
        description=(
            "The time, in days, that the queue keeps messages for a receiver that is no longer configured. 0: delete "
            "them at the start."
        ),
    )


class PrivacyConfig(Section):
    """The anonymisation of faces, and access to the files that are written."""

    blur: Blur = Field(
        default="none",
        description=(
            "Anonymise faces by solid fill in all images and videos that are written or shown. masked and unmasked "
            "also anonymise faces of the label unknown."
        ),
    )
    store_crops: bool = Field(
        default=False,
        description="Put an image of the face into events, except for a face that privacy.blur anonymises.",
    )
    readable_by: ReadableBy = Field(
        default="owner",
        description="The users who may read the files that contain data about people. The umask of the system still applies.",
    )


class VideoConfig(Section):
    """Reading video, and writing annotated video."""

    deinterlace: Deinterlace = Field(
        default="auto",
        description="Deinterlace video. auto: the frames marked as interlaced. true: all frames. false: none.",
    )
    pixel_aspect: PixelAspect | None = Field(
        default=None,
        description="The width of a source's pixels divided by their height. null: as the video states, otherwise square.",
    )
    decode_on: Processor = Field(
        default="cpu",
        description=(
            "Where files and RTSP cameras are decoded. cuda: by the video decoder of an NVIDIA GPU (NVDEC), where it can decode "
            "the format, otherwise by the CPU. It does not report damaged frames, so network.keep_damaged has no effect. Its "
            "speed was not measured."
        ),
    )
    encode_on: Processor = Field(
        default="cpu",
        description=(
            "Where H.264 is encoded. cuda: by the video encoder of an NVIDIA GPU (NVENC), with video.crf as its constant "
            "quality; otherwise, and for WebM, by the CPU. Its speed was not measured."
        ),
    )
    segment_s: Annotated[float, Field(ge=1)] | None = Field(
        default=None,
        description="Continue the recording of a camera in another file after this time, in seconds. null: one file.",
    )
    crf: Annotated[int, Field(ge=0, le=51)] = Field(
        default=23,
        description=(
            "The quality of H.264: 0 is lossless and very large, 18 looks like the source, 51 is the worst. WebM uses "
            "1.5 times this value for VP9."
        ),
    )
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"] = Field(
        default="veryfast",
        description="The speed of the H.264 encoder. Slower presets make smaller files. Without effect for WebM.",
    )


class CsvConfig(Section):
    """The CSV files of --csv and of `maskstream evaluate`."""

    bom: bool = Field(
        default=False,
        description="Begin CSV files with a byte order mark. Excel needs it to read UTF-8.",
    )
