"""Opening RTSP cameras in time: slow ones, long key frame intervals, and tracks without data."""

from contextlib import closing
from itertools import islice
from time import monotonic
from typing import Any

import pytest

from maskstream.config.loading import load_config
from maskstream.config.schema import NetworkConfig
from maskstream.sources import UrlSource
from tests.rtsp_camera import CODECS, RtspCamera, running
from tests.slowness import slowness
from tests.video_files import grey_index


def network(open_s: float, transport: str = "auto") -> NetworkConfig:
    limits = {"max_reconnects": 0, "open_timeout_s": open_s * slowness(), "transport": transport}
    return NetworkConfig.model_validate(load_config().network.model_dump() | limits)


LONG = {"a picture in more than two seconds", "quick, and described by its key frames alone"}
# What each is, the number of its first key frame, and the rate that is known of it.
CAMERAS: dict[str, tuple[dict[str, Any], int, float | None]] = {
    "slow, with a key frame a second": ({"fps": 5, "gop": 5, "begins_at": 1}, 5, 5.0),
    "a picture in more than two seconds": ({"fps": 0.4, "gop": 1}, 0, None),
    "quick, and described by its key frames alone": (
        {"gop": 60, "begins_at": 1, "describes_images": False},
        60,
        None,
    ),
    "two tracks, of which one is empty": ({"tracks": 2}, 0, 25.0),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in CAMERAS])
def test_a_camera_is_open_at_the_first_attempt(name: str) -> None:
    """The first frame is the first key frame; none is missing after it."""
    settings, first, fps = CAMERAS[name]
    camera = RtspCamera(**settings)
    with running(camera) as url, closing(UrlSource(url, network(4))) as source:
        assert [grey_index(frame.bgr) for frame in islice(source, 2)] == [first % 11, (first + 1) % 11]
        assert source.info.average_fps == fps
    assert set(camera.asked) == {"tcp"}


@pytest.mark.parametrize("codec", [pytest.param(codec, marks=() if codec == "H265" else pytest.mark.slow) for codec in CODECS])
@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_codecs(codec: str, transport: str) -> None:
    with running(RtspCamera(codec, gop=10, lasts_s=2)) as url, closing(UrlSource(url, network(4, transport))) as source:
        assert [grey_index(frame.bgr) for frame in islice(source, 12)] == [number % 11 for number in range(12)]
        assert source.transport == transport


def test_tracks_of_metadata_and_of_audio_are_not_requested() -> None:
    metadata = ["m=application 0 RTP/AVP 107", "a=rtpmap:107 vnd.onvif.metadata/90000", "a=control:metadata"]
    sound = ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=control:sound"]
    back = ["m=audio 0 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=sendonly", "a=control:back"]
    camera = RtspCamera(further=[*metadata, *sound, *back])
    with running(camera) as url, closing(UrlSource(url, network(4))) as source:
        assert grey_index(next(iter(source)).bgr) == 0
    assert camera.asked == ["tcp"]


@pytest.mark.slow
@pytest.mark.parametrize("describes", [True, False])
def test_waiting_for_a_late_key_frame(describes: bool) -> None:
    camera = RtspCamera(gop=240, begins_at=1, describes_images=describes)
    began_s = monotonic()
    with running(camera) as url, closing(UrlSource(url, network(10))) as source:
        assert grey_index(next(iter(source)).bgr) == 240 % 11
    assert monotonic() - began_s > 9
    assert camera.asked == ["tcp"]
