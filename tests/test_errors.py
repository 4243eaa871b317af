import pytest

from maskstream.redaction import redact

HIDDEN = {
    "user and password": ("rtsp://me:pw@cam:554/live/1", "rtsp://***@cam:554/live/1"),
    "user alone": ("rtsp://me@cam/x", "rtsp://***@cam/x"),
    "password alone": ("rtsp://:pw@cam/x", "rtsp://***@cam/x"),
    "upper case": ("RTSP://me:pw@CAM/x", "RTSP://***@CAM/x"),
    "IPv6": ("rtsp://me:pw@[fe80::1%25eth0]:554/x", "rtsp://***@[fe80::1%25eth0]:554/x"),
    "percent-encoded": ("rtsp://me:p%40w@cam/x", "rtsp://***@cam/x"),
    "/ in it": ("rtsp://me:p/w@cam/x", "rtsp://***@cam/x"),
    "@ in it": ("rtsp://me:p@w@cam/x", "rtsp://***@cam/x"),
    ": in it": ("rtsp://me:p:w@cam/x", "rtsp://***@cam/x"),
    "# in it": ("rtsp://me:p#w@cam/x", "rtsp://***@cam/x"),
    "? in it": ("rtsp://me:p?w@cam/x", "rtsp://***@cam/x"),
    "/ first": ("rtsp://me:/pw@cam/x", "rtsp://***@cam/x"),
    "# after digits": ("rtsp://me:12#4@cam/x", "rtsp://***@cam/x"),
    "more digits than a port": ("rtsp://me:123456/7@cam/x", "rtsp://***@cam/x"),
    "all of them": ("rtsp://me:/@:#?@cam/x", "rtsp://***@cam/x"),
    "@ in the path too": ("rtsp://me:pw@cam/a@b", "rtsp://***@cam/a@b"),
    "behind a gateway": ("http://gate/http://me:pw@cam/x", "http://gate/http://***@cam/x"),
    "token": ("http://cam/x?token=abc&x=1", "http://cam/x?token=***&x=1"),
    "several": ("http://cam/x?user=me&password=pw&x=1", "http://cam/x?user=***&password=***&x=1"),
    "pwd": ("http://cam/x?usr=me&pwd=pw", "http://cam/x?usr=***&pwd=***"),
    "access_token": ("https://cam/x.m3u8?access_token=a.b_c-d", "https://cam/x.m3u8?access_token=***"),
    "api_key": ("https://cam/x?API_KEY=abc&y=2", "https://cam/x?API_KEY=***&y=2"),
    "passphrase": ("https://cam/x?passphrase=abc;y=2", "https://cam/x?passphrase=***;y=2"),
    "signed": ("https://cam/x?X-Amz-Signature=abc&y=2", "https://cam/x?X-Amz-Signature=***&y=2"),
    "both": ("http://me:pw@cam/x?token=abc#part", "http://***@cam/x?token=***#part"),
    "in the path": (
        "rtsp://cam/user=admin_password=secret_channel=1_stream=0.sdp?real_stream",
        "rtsp://cam/user=***_password=***_channel=1_stream=0.sdp?real_stream",
    ),
}

UNTOUCHED = [
    *("clip.mp4", "me@home.mp4", "12:30 me:pw@cam.mp4", "folder/token=1.mp4", "C:\\clips\\a@b.mp4", "0", "", "déjà vu@.mp4"),
    *("http://host:8080/a@b", "http://host/a@b", "http://[::1]:8080/a@b", "http://host:8080?a@b", "rtsp://cam/live", "http://"),
]

MALFORMED = [
    "://",
    "rtsp://[::1",
    "rtsp://[fe80::1%25]x/",
    "http://a:b:c:d/",
    "rtsp://host:port/x",
    "http://%zz/%",
    "x://\0\n\ud800",
]


@pytest.mark.parametrize("what", HIDDEN)
def test_no_user_password_or_token_is_left(what: str) -> None:
    location, shown = HIDDEN[what]
    assert redact(location) == shown


@pytest.mark.parametrize("location", UNTOUCHED)
def test_what_holds_no_secret_stays_as_it_is(location: str) -> None:
    assert redact(location) == location


@pytest.mark.parametrize("location", MALFORMED)
def test_what_is_no_proper_url_stays_as_it_is_too(location: str) -> None:
    assert redact(location) == location


@pytest.mark.parametrize("location", [shown for _, shown in HIDDEN.values()])
def test_a_second_time_changes_nothing(location: str) -> None:
    assert redact(location) == location
