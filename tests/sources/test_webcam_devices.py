"""Webcams by the names of the system, and devices that are not webcams."""

from pathlib import Path

import pytest

from maskstream.cli.opening import open_source
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.schema import Config
from maskstream.errors import SourceOpenError
from maskstream.io.locations import location_kind, may_come_back, webcam_of
from maskstream.sources import SOURCES, FileSource, ReconnectingSource, source_kind
from maskstream.stream.source_states import SourceStates


@pytest.mark.parametrize(
    ("location", "device"),
    [
        *(("0", 0), ("12", 12), ("/dev/video0", 0), ("/dev/video31", 31), ("/dev/../dev/video2", 2)),
        *(("/dev/v4l/by-id/usb-nothing-index0", "/dev/v4l/by-id/usb-nothing-index0"), ("/dev/video", "/dev/video")),
        *(("clip.mp4", None), ("/dev/null", None), ("video0", None), ("-", None), ("/dev/stdin", None), ("/dev/fd/0", None)),
    ],
)
def test_what_is_a_webcam(location: str, device: int | str | None) -> None:
    """Whether it is connected or not."""
    assert webcam_of(location) == device
    assert (location_kind(location) == "webcam") is (device is not None)
    assert may_come_back(location) is (device is not None)


def test_a_link_leads_to_the_number_that_the_webcam_has_now(tmp_path: Path, config: Config) -> None:
    link = tmp_path / "usb-Logitech-video-index0"
    for number in (31, 32):
        link.unlink(missing_ok=True)
        link.symlink_to(f"/dev/video{number}")
        assert source_kind(str(link)) == "webcam"
        with pytest.raises(SourceOpenError, match=f"webcam {number}: it does not exist"):
            SOURCES["webcam"](str(link), "gate", config)


def test_waiting_for_a_missing_webcam_beside_others(tmp_path: Path, config: Config) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text("- {name: desk, url: /dev/v4l/by-id/usb-nothing-index0}\n- {name: gate, url: /dev/video31}\n")
    for camera in read_cameras([str(path)], config):
        source = open_source(camera, SourceStates(), alone=False)
        source.close()
        assert isinstance(source, ReconnectingSource)
    with pytest.raises(SourceOpenError, match="webcam 31: it does not exist"):
        open_source(Camera("gate", "/dev/video31", config), SourceStates(), alone=True)


@pytest.mark.parametrize(
    ("device", "what"), [("/dev/null", "a device that is not a webcam"), ("/dev/zero", "a device that is not a webcam")]
)
def test_a_device_that_is_not_a_webcam(device: str, what: str) -> None:
    with pytest.raises(SourceOpenError, match=f"^{device}: {what}; .*/dev/video0"):
        FileSource(device)
