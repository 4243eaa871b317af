"""Define the options that `maskstream user` and `maskstream token` share, and open the store for them."""

import argparse
import os
from collections.abc import Collection
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Final

from maskstream.errors import ConfigError

if TYPE_CHECKING:
    from maskstream.store.roles import Role
    from maskstream.store.store import Store

ROLES: Final = ("display", "viewer", "operator", "admin")
_SHOWN: Final = {
    "name": "NAME",
    "role": "--role",
    "cameras": "--cameras",
    "password_stdin": "--password-stdin",
    "expires": "--expires",
}
"""The arguments that some actions do not use, as the user writes them."""


def add_access_options(parser: argparse.ArgumentParser, actions: Collection[str], thing: str) -> None:
    """Add ACTION, NAME, `--role`, `--cameras` and `--store`.

    Args:
        parser: Gets the arguments.
        actions: The names of the actions.
        thing: What NAME names.
    """
    parser.add_argument("action", choices=tuple(actions), metavar="ACTION", help=f"what to do: {', '.join(actions)}")
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"name of the {thing}")
    parser.add_argument("--role", choices=ROLES, metavar="ROLE", help=f"role: {', '.join(ROLES)}; default: viewer")
    parser.add_argument("--cameras", metavar="A,B", help="names of the cameras that may be seen; default: all cameras")
    parser.add_argument(
        "--store",
        type=Path,
        metavar="DIR",
        help="folder of the store, the setting store.folder of the run; default: maskstream/store in $XDG_STATE_HOME",
    )


def require_arguments(arguments: argparse.Namespace, uses: Collection[str]) -> None:
    """Refuse a missing name, and options that the action does not use.

    Args:
        arguments: With `action` and `name`.
        uses: The options that the action uses; `name` too.

    Raises:
        ConfigError: An argument is missing, or has no effect.
    """
    action = arguments.action
    if "name" in uses and arguments.name is None:
        raise ConfigError(f"{action}: NAME is missing; see --help")
    for name, shown in _SHOWN.items():
        if name not in uses and getattr(arguments, name, None):
            raise ConfigError(f"{action}: {shown} has no effect; leave it out")


def opened_store(arguments: argparse.Namespace, *, create: bool) -> "Store":
    """Open the store of `--store`.

    Args:
        arguments: With `store`.
        create: Whether it may be created.

    Raises:
        ConfigError: It does not exist, or a later version of the program has written it.
        StoreError: It is damaged or cannot be written.
    """
    from maskstream.store.schema import FILE_NAME
    from maskstream.store.store import Store, default_folder

    folder = arguments.store or default_folder()
    if not create and not (folder / FILE_NAME).exists():
        raise ConfigError(f"{folder / FILE_NAME}: the store does not exist; give its folder with --store")
    return Store(folder)


def role_of(arguments: argparse.Namespace) -> "Role":
    """Return the role of `--role`, by default viewer."""
    from maskstream.store.roles import Role

    return Role(arguments.role or Role.VIEWER)


def cameras_of(arguments: argparse.Namespace) -> tuple[str, ...] | None:
    """Return the cameras of `--cameras`; None: all.

    Raises:
        ConfigError: A name is empty.
    """
    if arguments.cameras is None:
        return None
    names = tuple(name.strip() for name in arguments.cameras.split(","))
    if not all(names):
        raise ConfigError(
            f"--cameras: {arguments.cameras!r} has an empty name; give names separated by commas, such as door,hall"
        )
    return names


def access_text(role: "Role", cameras: Collection[str] | None) -> str:
    """Return role and cameras as text."""
    return f"{role.value}, {'all cameras' if cameras is None else 'cameras ' + ', '.join(cameras)}"


def audited(store: "Store", what: str, detail: str) -> None:
    """Add an action of the command line to the audit log.

    Raises:
        StoreError: The disk is full or fails.
    """
    store.audit.add(f"command line ({_system_user()})", what, detail, "local")


def _system_user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container may run with a user id that has no name
        return str(os.getuid())
