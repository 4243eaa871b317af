"""Run `maskstream user`: add, list, change and remove the users of the dashboard."""

import argparse
import sys
from getpass import getpass
from typing import TYPE_CHECKING, Final

from maskstream.cli.store_access import (
    access_text,
    add_access_options,
    audited,
    cameras_of,
    opened_store,
    require_arguments,
    role_of,
)
from maskstream.errors import ConfigError

if TYPE_CHECKING:
    from maskstream.store.store import Store

_USES: Final = {
    "add": ("name", "role", "cameras", "password_stdin"),
    "list": (),
    "role": ("name", "role", "cameras"),
    "password": ("name", "password_stdin"),
    "remove": ("name",),
}
"""The arguments of each action."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments ACTION and NAME, and the options."""
    add_access_options(parser, _USES, "user")
    parser.add_argument(
        "--password-stdin",
        action="store_true",
        help="read the password from standard input, 10 characters or more; otherwise it is generated and printed once",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the action, and print its result."""
    require_arguments(arguments, _USES[arguments.action])
    password = _read_password() if arguments.password_stdin else None
    with opened_store(arguments, create=arguments.action == "add") as store:
        if arguments.action == "list":
            _print_users(store)
        elif arguments.action == "role":
            _change_role(store, arguments)
        elif arguments.action == "remove":
            store.users.remove(arguments.name)
            audited(store, "user.remove", arguments.name)
            print(f"{arguments.name}: removed; the user's sessions have ended")
        else:
            _add_or_set_password(store, arguments, password)
    return 0


def _print_users(store: "Store") -> None:
    users = store.users.list()
    if not users:
        print("no users; maskstream user add NAME --role admin adds the first one", file=sys.stderr)
    for user in users:
        print(f"{user.name}: {access_text(user.role, user.cameras)}")


def _change_role(store: "Store", arguments: argparse.Namespace) -> None:
    if arguments.role is None:
        raise ConfigError("role: --role is missing; see --help")
    role, cameras = role_of(arguments), cameras_of(arguments)
    store.users.set_role(arguments.name, role, cameras)
    audited(store, "user.role", f"{arguments.name}: {access_text(role, cameras)}")
    print(f"{arguments.name}: {access_text(role, cameras)}")


def _add_or_set_password(store: "Store", arguments: argparse.Namespace, given: str | None) -> None:
    from maskstream.store.passwords import generated_password

    password = given or generated_password()
    if arguments.action == "add":
        user = store.users.add(arguments.name, role_of(arguments), cameras_of(arguments), password)
        audited(store, "user.add", f"{user.name}: {access_text(user.role, user.cameras)}")
        print(f"{user.name}: added; {access_text(user.role, user.cameras)}")
    else:
        store.users.set_password(arguments.name, password)
        audited(store, "user.password", arguments.name)
        print(f"{arguments.name}: the password is changed; the user's sessions have ended")
    if given is None:
        print(f"password, which is not shown again: {password}")


def _read_password() -> str:
    """Return the first line of standard input; on a terminal it is not shown.

    Raises:
        ConfigError: It is empty, or not text.
    """
    try:
        password = getpass("password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigError("--password-stdin: the password is not text in UTF-8; give another one") from error
    if not password:
        raise ConfigError("--password-stdin: standard input is empty; write the password to it")
    return password
