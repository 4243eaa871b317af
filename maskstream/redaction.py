"""Make text safe to show, log and store: hide passwords and tokens, and escape control characters.

No other module knows what passwords and tokens in URLs look like.
"""

import re
from typing import Final
from unicodedata import category
from urllib.parse import unquote

HIDDEN: Final = "***"

# A password may contain @ / ? # that are not escaped. It then ends at the last @ before something that can only be a host.
# Text that may also be a host and its path is kept: the `12/3` of `rtsp://me:12/3@cam`, the `s/w` of `rtsp://me:p@s/w@cam`.
_TYPED: Final = r"[^/?#:\[]*:(?!\d{1,5}[/?]).*@"
_ESCAPED: Final = r"[^/?#]*@"
_WORD: Final = r"[\w-]*(?:[/?#]|\Z)"
_HOST: Final = r"(?:\[[^\]@/?#]*\](?::\d+)?|[\w-]+(?:\.[\w-]+)+\.?(?::\d+)?|[\w-]+:\d+)(?:[/?#]|\Z)"
_USER_AND_PASSWORD: Final = re.compile(
    rf"(?<=://)(?:{_TYPED}(?={_HOST})|{_ESCAPED}(?={_HOST}|{_WORD})|{_TYPED}|{_ESCAPED})", re.DOTALL
)
_WITHIN_ANOTHER: Final = re.compile(r"(?<=%3A%2F%2F)(?:(?!%2F)[^/?#&;\s])*%40", re.IGNORECASE)
"""User and password of a URL that is a parameter of another URL."""

# Parameters of cameras, recorders and cloud services: the end of a name (`loginpas`, `X-Amz-Signature`), or a complete name.
_PART_OF_A_NAME: Final = (
    r"pas[a-z]*\d*|psw[a-z]*|pwd?|token|secret|key|auth(?:orization|basic)?"
    r"|jwt|cred(?:ential)?s?|sig(?:n|nature)?|ticket|session(?:id)?"
)
_WHOLE_NAME: Final = r"user(?:_?(?:name|id))?|usr|uid|log[io]n(?:us[a-z]*|name)?|account|acct|sid|pin|otp|nonce|hash|digest"
_NAME: Final = rf"(?:{_PART_OF_A_NAME}|(?<![a-z0-9])(?:{_WHOLE_NAME}))"
_PARAMETER: Final = re.compile(rf"({_NAME}=).*?(?=_[a-z]+=[^=&;#\s]|[&;#\s]|\Z)", re.IGNORECASE)
_ENCODED_PARAMETER: Final = re.compile(rf"({_NAME}%3D).*?(?=%26|%23|[&;#\s]|\Z)", re.IGNORECASE)
_ENCODED_NAME: Final = re.compile(r"([^?&;#=/\s]*%[0-9a-f]{2}[^?&;#=/\s]*)=[^&;#\s]*", re.IGNORECASE)
_SECRET_NAME: Final = re.compile(rf"{_NAME}\Z", re.IGNORECASE)
_STREAM_ID: Final = re.compile(r"(?<![a-z0-9])(streamid=)[^&\s]*", re.IGNORECASE)
"""The stream id of SRT. It may contain user and password; each server has a format of its own."""
_SHORT_PAIR: Final = re.compile(r"(?<=[?&;])([up])=[^&;#\s]*")
"""User and password of some cameras. They are hidden only where both parameters exist."""

_SEGMENT: Final = re.compile(r"(?<=/)[^/\s]+")
_SUFFIX: Final = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,4}\Z")
_TIME: Final = re.compile(r"\d{8}T?\d{6}Z?\Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)
_SHORTEST_TOKEN: Final = 16
_TURN: Final = re.compile(r"[A-Za-z](?=\d)|\d(?=[A-Za-z])")
_CASE_TURN: Final = re.compile(r"[a-z](?=[A-Z])|[A-Z](?=[a-z])")
_TURNS, _MIXED_TURNS = 4, 6
"""Changes between letters and digits in a token, and those plus changes of case. Names chosen by people have fewer."""

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|%3A%2F%2F)\S+")
_PLACEHOLDER: Final = re.compile(r"[a-z]+://\w+:\$\{[A-Z_][A-Z0-9_]*\}@\S*\Z")
"""A URL in a message that shows how to use an environment variable; it contains no password."""


def redact(location: str) -> str:
    """Return a path or URL without user, password and tokens, for logs, records and file names.

    A part of the path is hidden where it looks like a token: long, with letters and digits mixed. A secret that looks like a word
    is not recognised; give such a camera a name in a list of cameras.
    """
    if "://" not in location:
        return location
    shown = _USER_AND_PASSWORD.sub(lambda found: found[0] if found[0] == "@" else f"{HIDDEN}@", location)  # udp://@GROUP:PORT
    shown = _STREAM_ID.sub(rf"\1{HIDDEN}", shown)
    shown = _WITHIN_ANOTHER.sub(f"{HIDDEN}%40", shown)
    shown = _PARAMETER.sub(rf"\1{HIDDEN}", shown)
    shown = _ENCODED_PARAMETER.sub(rf"\1{HIDDEN}", shown)
    shown = _ENCODED_NAME.sub(_without_value, shown)
    if {"u", "p"} <= {found[1] for found in _SHORT_PAIR.finditer(shown)}:
        shown = _SHORT_PAIR.sub(rf"\1={HIDDEN}", shown)
    return _without_tokens(shown)


def redact_text(text: str) -> str:
    """Return a text with `redact` applied to each URL in it."""
    if "://" not in text and "%3" not in text:
        return text
    return _URL.sub(lambda found: found[0] if _PLACEHOLDER.match(found[0]) else redact(found[0]), text)


def one_line(text: str) -> str:
    """Return a text in one printable line: line breaks, other control characters and bytes that are not text are escaped."""
    if text.isprintable():
        return text
    shown: list[str] = []
    for character in text:
        is_space = category(character) == "Zs"  # such as the ideographic space, which `isprintable` refuses
        shown.append(character if character.isprintable() or is_space else repr(character)[1:-1])
    return "".join(shown)


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1]}={HIDDEN}" if _SECRET_NAME.search(unquote(found[1])) else found[0]


def _without_tokens(url: str) -> str:
    start = url.index("://") + 3
    path = re.compile(r"/[^?#]*").search(url, start)
    if path is None:
        return url
    shown = _SEGMENT.sub(lambda found: _hidden(found[0]), path[0])
    return url[: path.start()] + shown + url[path.end() :]


def _hidden(segment: str) -> str:
    suffix = _SUFFIX.search(segment)
    stem, end = (segment[: suffix.start()], suffix[0]) if suffix else (segment, "")
    return f"{HIDDEN}{end}" if _is_token(unquote(stem)) else segment


def _is_token(text: str) -> bool:
    """Return whether a text looks generated and not chosen by a person."""
    if len(text) < _SHORTEST_TOKEN:
        return False
    pieces = [piece for piece in re.split(r"[^A-Za-z0-9]+", text) if not _TIME.match(piece)]
    long = any(len(piece) >= _SHORTEST_TOKEN and not piece.isalpha() and not piece.isdigit() for piece in pieces)
    turns = sum(len(_TURN.findall(piece)) for piece in pieces)
    case_turns = sum(len(_CASE_TURN.findall(piece)) for piece in pieces)
    mixed = turns > 0 and turns + case_turns >= _MIXED_TURNS
    return long or mixed or turns >= _TURNS or _UUID.match(text) is not None
