"""A password never survives `redact`, whatever is in it."""

import re
from base64 import urlsafe_b64encode
from unicodedata import category
from urllib.parse import quote

from hypothesis import assume, example, given
from hypothesis import strategies as st

from maskstream.errors import MaskStreamError
from maskstream.redaction import redact
from tests.properties import examples

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
AWKWARD = st.text(st.sampled_from("abZ019@:/?#[]%&=;+._-*!$ \n\\"), min_size=1, max_size=12)
SCHEMES = st.sampled_from(["rtsp", "rtsps", "http", "HTTPS"])
DOTTED = st.sampled_from(
    ["192.168.1.20", "cam.local", "cam.local:554", "[fe80::1%25eth0]:554", "[::1]", "cam:8554", "höf.example.org"]
)
HOSTS = st.one_of(DOTTED, st.sampled_from(["cam", "localhost", "x_1"]))
PATHS = st.sampled_from(["", "/", "/live/1", "/Streaming/Channels/101?transport=tcp", "?channel=1&subtype=0", "/x#part"])
NAMES = (
    "password",
    "pass",
    "passwd",
    "loginpas",
    "pwd",
    "pw",
    "token",
    "access_token",
    "api_key",
    "jwt",
    "sig",
    "X-Amz-Signature",
)


@examples(2)
@given(scheme=SCHEMES, user=SECRETS, password=SECRETS | AWKWARD, host=HOSTS, path=PATHS)
def test_escaped_as_it_should_be(scheme: str, user: str, password: str, host: str, path: str) -> None:
    location = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}{path}"
    assert redact(location) == f"{scheme}://***@{host}{path}"


@examples(2)
@given(
    user=st.sampled_from(["admin", "me@example.org", "müller", "a b", ""]),
    password=SECRETS | AWKWARD,
    host=DOTTED,
    path=PATHS,
)
@example(user="me", password="P@ss/w0rd", host="192.168.1.20", path="/live")
@example(user="me", password="p@s$s/w", host="cam.local", path="")
@example(user="me@example.org", password="p/w", host="cam.local", path="/x")
@example(user="me", password="one@two.three/four", host="cam.local", path="/x")
@example(user="me", password="p\n/w", host="cam.local", path="/x")
def test_typed_as_it_is(user: str, password: str, host: str, path: str) -> None:
    """Nobody can tell apart a password that looks like a port and a path, and those."""
    assume(not re.match(r"\d{1,5}[/?]", password))
    assert redact(f"rtsp://{user}:{password}@{host}{path}") == f"rtsp://***@{host}{path}"


@given(user=st.sampled_from(["admin", "me@example.org"]), password=SECRETS | AWKWARD, host=HOSTS, path=PATHS)
@example(user="me@example.org", password="p/w", host="cam", path="/x")
def test_typed_as_it_is_for_a_host_of_one_word(user: str, password: str, host: str, path: str) -> None:
    """Nor one with an @, a word and a slash in it, where the host is one word as well."""
    assume(not re.match(r"\d{1,5}[/?]", password) and not re.search(r"@[\w.:-]*[/?#]", password + "@"))
    assert redact(f"rtsp://{user}:{password}@{host}{path}") == f"rtsp://***@{host}{path}"


@given(
    password=SECRETS | AWKWARD, host=HOSTS, path=st.sampled_from(["/a@b", "/x?mail=me@example.org", "/@", "/http://me:pw@cam/x"])
)
def test_where_the_path_has_an_at_sign_too(password: str, host: str, path: str) -> None:
    """A part of the address may be lost, the password is in any case."""
    shown, found, rest = redact(f"rtsp://me:{quote(password, safe='')}@{host}{path}").partition("***@")
    assert (shown, found) == ("rtsp://", "***@")
    assert f"{host}{path}".replace("me:pw@", "***@").endswith(rest)


@examples(2)
@given(
    name=st.sampled_from(NAMES),
    value=SECRETS | AWKWARD,
    before=st.sampled_from(["?", "?channel=1&", "/stream=admin_", "?a=b;"]),
    after=st.sampled_from(["", "&x=1", "#part", ";y=2", "_channel=1_stream=0.sdp"]),
)
@example(name="token", value="", before="?", after="")
def test_a_secret_among_the_parameters(name: str, value: str, before: str, after: str) -> None:
    assert redact(f"http://cam{before}{name}={quote(value, safe='')}{after}") == f"http://cam{before}{name}=***{after}"


@given(value=st.binary(min_size=1, max_size=30), after=st.sampled_from(["", "&x=1", "#part"]))
@example(value=b"\x00\x0f\xf0\x11", after="")  # AA_wEQ==
def test_a_token_in_base64_with_its_padding(value: bytes, after: str) -> None:
    token = urlsafe_b64encode(value).decode()
    assert redact(f"http://cam/x?token={token}{after}") == f"http://cam/x?token=***{after}"


@given(location=st.text(max_size=40))
def test_what_is_no_url_stays_as_it_is(location: str) -> None:
    assume("://" not in location)
    assert redact(location) == location


@given(
    location=st.lists(
        st.sampled_from(["rtsp://", "me", ":", "@", "/", "pw", "cam.local", "?", "token=", "&", "[", "]", "\n"]), max_size=12
    )
)
def test_a_second_time_changes_nothing(location: list[str]) -> None:
    shown = redact("".join(location))
    assert redact(shown) == shown


@given(name=st.text(st.characters() | st.sampled_from("\n\r\x1b\u2028\udc80")))
@example(name="plain é 中.mp4")
@example(name="two\nlines \udcff.mp4")
def test_a_message_is_one_line_that_can_be_written(name: str) -> None:
    message = str(MaskStreamError(name))
    assert all(sign.isprintable() or category(sign) == "Zs" for sign in message)
    assert len(f"x{message}".splitlines()) == 1
    assert message.encode().decode() == message
    assert message == name or not name.isprintable()
