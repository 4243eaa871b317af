"""Hash passwords with scrypt (RFC 7914); the parameters are part of the text that is stored."""

import secrets
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import scrypt
from hmac import compare_digest
from typing import Final
from unicodedata import normalize

from maskstream.errors import ConfigError

SHORTEST_PASSWORD: Final = 10
_LONGEST_PASSWORD: Final = 1024
_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"
"""Characters that look different from each other; 4.95 bits each."""
_GROUPS: Final = 4
_GROUP_LENGTH: Final = 4


@dataclass(frozen=True)
class ScryptCost:
    """The cost of one hash: `128 * n * r` bytes of memory, and time in proportion to `n * r * p`."""

    n: int = 2**15
    r: int = 8
    p: int = 3


def hash_password(password: str, cost: ScryptCost) -> str:
    """Return the text to store, with a random salt."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return _text(cost, salt, _hash(password, salt, cost))


def no_password(cost: ScryptCost) -> str:
    """Return a text to which no password belongs. For an unknown user it is checked, which takes the same time."""
    return _text(cost, secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_HASH_BYTES))


def is_password(password: str, stored: str) -> bool:
    """Return whether a password belongs to a stored text; takes the same time either way."""
    _, n, r, p, salt, expected = stored.split("$")
    found = _hash(password, b64decode(salt), ScryptCost(int(n), int(r), int(p)))
    return compare_digest(found, b64decode(expected))


def checked_password(name: str, password: str) -> str:
    """Return a password that may be set.

    Raises:
        ConfigError: It is too short, too long, or the name of the user.
    """
    if not SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise ConfigError(
            f"the password has {len(password)} characters; give {SHORTEST_PASSWORD} to {_LONGEST_PASSWORD}, "
            "or none, and one is generated"
        )
    if password.casefold() == name.casefold():
        raise ConfigError("the password is the name of the user; give another one")
    return password


def generated_password() -> str:
    """Return a random password of 79 bits, such as `k7mf-q2xd-9wpt-hz4c`."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))


def _text(cost: ScryptCost, salt: bytes, digest: bytes) -> str:
    return f"scrypt${cost.n}${cost.r}${cost.p}${b64encode(salt).decode()}${b64encode(digest).decode()}"


def _hash(password: str, salt: bytes, cost: ScryptCost) -> bytes:
    memory = 128 * cost.r * (cost.n + cost.p + 2)
    secret = normalize("NFKC", password).encode(errors="surrogatepass")[: 4 * _LONGEST_PASSWORD]
    return scrypt(secret, salt=salt, n=cost.n, r=cost.r, p=cost.p, maxmem=2 * memory, dklen=_HASH_BYTES)
