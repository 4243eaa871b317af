"""What is a secret in a URL, and what is not: names that makers of cameras use, tokens in paths, URLs in other texts."""

import secrets
import string
from itertools import pairwise
from random import Random
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from maskstream.config.schema import WebhookConfig
from maskstream.errors import SourceOpenError
from maskstream.redaction import redact, redact_text
from tests.properties import examples

SECRET = "s3cr#t/?@&"
NAMES = (
    *(
        "pass",
        "passwd",
        "password",
        "passwort",
        "passphrase",
        "pas",
        "psw",
        "pswd",
        "pwd",
        "pw",
        "loginpas",
        "loginpass",
        "rpass",
    ),
    *("token", "access_token", "auth_token", "authtoken", "jwt", "key", "apikey", "api_key", "api-key", "streamkey", "secret"),
    *("client_secret", "auth", "authorization", "authbasic", "sig", "sign", "signature", "X-Amz-Signature", "X-Amz-Credential"),
    *("X-Amz-Security-Token", "Key-Pair-Id_key", "credentials", "ticket", "session", "sessionid", "sid", "pin", "otp", "nonce"),
    *("user", "usr", "username", "user_name", "userid", "uid", "login", "loginuse", "loginuser", "account", "hash", "digest"),
)
SHOWN = (
    *("rtsp://cam/h264Preview_01_main", "rtsp://cam/cam/realmonitor?channel=1&subtype=0", "rtsp://cam/Streaming/Channels/101"),
    *(
        "http://cam/axis-cgi/mjpg/video.cgi?resolution=1280x720&compression=25",
        "http://cam/ISAPI/Streaming/channels/102/httpPreview",
    ),
    *("rtsp://cam/onvif-media/media.amp?profile=profile_1_h264&sessiontimeout=60&streamtype=unicast", "rtsp://cam/live/ch00_0"),
    *("http://nas/recordings/2026-11-26/20261126T193000Z.mp4", "http://nas/recording_20261126193000_entrance.mp4"),
    *(
        "http://cam/videostream.cgi?rate=0&resolution=32",
        "http://cam/mjpegstream?u=1",
        "https://host/hls/live_720p_2500kbps.m3u8",
    ),
    *("rtsp://cam/MediaInput/h264/stream_1", "rtsp://cam/VideoInput/1/h264/1", "rtsp://10.0.0.1:554/12", "http://cam/p=1"),
)
TOKENS = st.integers(0, 2**32).map(lambda seed: _token(Random(seed)))


def _token(rng: Random) -> str:
    """Return a token as recorders and clouds make them, of one of three alphabets."""
    kind, length = rng.choice(("hex", "letters and digits", "URL-safe")), rng.randrange(20, 44)
    if kind == "hex":
        return f"{rng.getrandbits(4 * length):0{length}x}"
    alphabet = string.ascii_letters + string.digits + ("-_" if kind == "URL-safe" else "")
    return "".join(rng.choice(alphabet) for _ in range(length))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_names_of_makers(name: str, change: "type[str]") -> None:
    name = change(name)
    value = quote(SECRET, safe="")
    assert redact(f"http://cam/video?channel=1&{name}={value}&x=2#y") == f"http://cam/video?channel=1&{name}=***&x=2#y"
    assert redact(f"http://cam/video#{name}={value}") == f"http://cam/video#{name}=***"
    assert value not in redact(f"http://gate/?url=http%3A%2F%2Fcam%2Fvideo%3F{name}%3D{quote(value, safe='')}%26x%3D1")


@pytest.mark.parametrize("location", SHOWN)
def test_paths_and_parameters_that_hold_none(location: str) -> None:
    assert redact(location) == location


def test_letters_for_user_and_password_together() -> None:
    assert redact("http://cam/x?u=admin&p=abc&c=1") == "http://cam/x?u=***&p=***&c=1"


@pytest.mark.parametrize("name", ["p%61ssword", "%70wd", "to%6Ben", "us%65r"])
def test_a_name_that_is_encoded(name: str) -> None:
    assert redact(f"http://cam/x?a=1&{name}=abc&b=2") == f"http://cam/x?a=1&{name}=***&b=2"


def test_a_url_within_another() -> None:
    assert redact("http://gate/?url=rtsp%3A%2F%2Fme%3Ap%2540w%40cam%2F1&x=1") == "http://gate/?url=rtsp%3A%2F%2F***%40cam%2F1&x=1"


@examples(2)
@given(
    token=TOKENS, before=st.sampled_from(["", "/live", "/s", "/api/streams"]), after=st.sampled_from(["", "/1", ".m3u8", "?x=1"])
)
@example(token="AbCdEfGh12345678", before="", after="")
@example(token="550e8400-e29b-41d4-a716-446655440000", before="", after=".m3u8")
@example(token="bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", before="", after="/x")
def test_a_token_in_the_path(token: str, before: str, after: str) -> None:
    """Those with hardly a digit cannot be told from words."""
    assume(sum(a.isdigit() != b.isdigit() for a, b in pairwise(token)) >= 4)
    assert redact(f"rtsp://nvr:7447{before}/{token}{after}") == f"rtsp://nvr:7447{before}/***{after}"


@examples(2)
@given(
    user=st.text(min_size=1, max_size=10),
    password=st.text(min_size=4, max_size=16).filter(lambda text: not text.isspace()),
    around=st.sampled_from(
        [
            "{}",
            "cannot open '{}': refused",
            'Camera("{}")',
            "[{}]",
            "{{'url': '{}'}}",
            "a line\n{}\nanother",
            "returned 5: {}: Input/output",
        ]
    ),
)
def test_urls_in_any_text(user: str, password: str, around: str) -> None:
    """Such as messages of FFmpeg and of other libraries."""
    login, marked = quote(user, safe=""), "Zq" + quote(password, safe="") + "Zq"
    for url in (f"rtsp://{login}:{marked}@cam/live", f"http://cam/video?user={login}&pwd={marked}"):
        shown = redact_text(around.format(url))
        assert marked not in shown
        assert "cam" in shown
        assert redact_text(shown) == shown


def test_text_without_urls_stays_as_it_is() -> None:
    for text in ("", "a: b", "user=me password=pw", "50%3", "see https://example.org/docs/options.html, rtsp://, http(s)://"):
        assert redact_text(text) == text
    assert "mqtt://user:${MQTT_PASSWORD}@host:1883" in redact_text("give one such as mqtt://user:${MQTT_PASSWORD}@host:1883")


def test_every_error_hides_what_others_put_into_it() -> None:
    assert str(SourceOpenError("OSError(5, 'http://me:pw@cam/x?token=abc')")) == "OSError(5, 'http://***@cam/x?token=***"


def test_settings_are_shown_without_secrets() -> None:
    secret = secrets.token_hex(8)
    assert secret not in repr(WebhookConfig(url=f"https://hooks/{secret}", secret=secret))
