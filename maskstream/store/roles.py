"""Define roles, and the users, sessions and tokens that have one."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from unicodedata import normalize

from maskstream.errors import ConfigError

_NAME: Final = re.compile(r"[\w.@+-]+")
_LONGEST_NAME: Final = 64


class Role(StrEnum):
    """What a user or a token may do. Each role includes the ones before it."""

    DISPLAY = "display"
    """Watch the tiles of its cameras, and nothing else."""
    VIEWER = "viewer"
    """Read events and the health of cameras."""
    OPERATOR = "operator"
    """Review events."""
    ADMIN = "admin"
    """Change cameras, and read settings and the audit log."""

    @property
    def rank(self) -> int:
        """Return the place in the order of roles, from 0."""
        return list(Role).index(self)

    def includes(self, role: "Role") -> bool:
        """Return whether this role may do what another one may."""
        return self.rank >= role.rank


@dataclass(frozen=True)
class User:
    """A user of the dashboard."""

    name: str
    role: Role
    cameras: tuple[str, ...] | None
    """The cameras that the user may see; None: all."""

    def may_see(self, camera: str) -> bool:
        """Return whether the user may see a camera."""
        return self.cameras is None or camera in self.cameras


@dataclass(frozen=True)
class Session:
    """A user who is logged in."""

    user: User
    """With the current role and cameras, not those of the login."""
    address: str
    """The IP address of the login."""
    expires_s: float
    """Seconds since 1970: after this time the user must log in again."""

    @property
    def role(self) -> Role:
        """Return the role of the user."""
        return self.user.role

    @property
    def cameras(self) -> tuple[str, ...] | None:
        """Return the cameras that the user may see; None: all."""
        return self.user.cameras

    def may_see(self, camera: str) -> bool:
        """Return whether the user may see a camera."""
        return self.user.may_see(camera)


@dataclass(frozen=True)
class Token:
    """A program that may use the API."""

    name: str
    role: Role
    cameras: tuple[str, ...] | None
    """The cameras that it may see; None: all."""
    created_s: float
    """Seconds since 1970."""
    expires_s: float | None
    """None: never."""
    used_s: float | None
    """The latest use, within a minute; None: never."""

    def may_see(self, camera: str) -> bool:
        """Return whether the token may be used for a camera."""
        return self.cameras is None or camera in self.cameras


def checked_name(name: str) -> str:
    """Return the name of a user or token in its normal form.

    Raises:
        ConfigError: It is not a name.
    """
    plain = normalize("NFKC", name)
    if not _NAME.fullmatch(plain) or len(plain) > _LONGEST_NAME:
        raise ConfigError(
            f"{name[:_LONGEST_NAME]!r} is not allowed as a name; give 1 to {_LONGEST_NAME} letters, digits and . _ @ + -"
        )
    return plain


def name_key(name: str) -> str:
    """Return the form in which names are compared: `Anna` and `anna` are the same user."""
    return normalize("NFKC", name).casefold().encode(errors="replace").decode()
