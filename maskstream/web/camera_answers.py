"""Describe the JSON of cameras in the answers of the API."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

_State = Literal["connecting", "online", "stalled", "reconnecting", "offline", "ended"]


class ZoneRecord(TypedDict):
    """A zone of a camera."""

    name: str
    polygon: Annotated[list[list[float]], Field(description="Corners [x, y] as fractions of width and height.")]


class OutageRecord(TypedDict):
    """The time in which a camera sent no frames."""

    began_utc: str
    ended_utc: Annotated[str | None, Field(description="null: it lasts.")]
    cause: str


class PrivacyRecord(TypedDict):
    """How faces of a camera are anonymised."""

    blur: Annotated[str, Field(description="The value of privacy.blur.")]


class CameraRecord(TypedDict):
    """The state of a running camera."""

    camera: Annotated[str, Field(description="The name.")]
    state: _State
    state_s: Annotated[float, Field(description="The duration of the state, in seconds.")]
    cause: Annotated[str, Field(description="The cause of the state.")]
    fps_in: Annotated[float, Field(description="Frames that arrive per second.")]
    fps_out: Annotated[float, Field(description="Frames that are analysed per second.")]
    dropped: Annotated[dict[str, int], Field(description="Frames that were dropped, by cause.")]
    frame_age_s: Annotated[float | None, Field(description="Time since the last frame arrived. null: none has arrived.")]
    reconnects_last_hour: int
    stage_ms: Annotated[dict[str, float], Field(description="Mean time of each stage per frame, in milliseconds.")]
    people: Annotated[dict[str, int], Field(description="People in the latest frame, by label.")]
    zones: list[ZoneRecord]
    privacy: PrivacyRecord
    width: Annotated[int, Field(description="Of the latest frame, in pixels; 0 before the first.")]
    height: int
    last_outage: OutageRecord | None
    source: Annotated[str | None, Field(description="The address without passwords. null: for other roles than admin.")]
    editable: Annotated[bool, Field(description="Whether the client may change it in its list.")]


class CameraDetail(TypedDict):
    """A camera as its list describes it, for an administrator; with its state where it runs (see `CameraRecord`)."""

    camera: str
    url: NotRequired[Annotated[str | None, Field(description="The address without passwords. null: it is in no list.")]]
    zones: NotRequired[Annotated[list[ZoneRecord], Field(description="The zones of its own.")]]
    settings: NotRequired[Annotated[dict[str, Any] | None, Field(description="The settings of its own, without zones.")]]
    etag: NotRequired[Annotated[str | None, Field(description="Send it as if_match with a change.")]]
    editable: NotRequired[bool]
    obstacle: NotRequired[Annotated[str, Field(description="Why it cannot be changed; empty where it can.")]]
