"""Run `maskstream token`: add, list and remove the tokens with which programs use the API of the dashboard."""

import argparse
import re
import sys
from time import time
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

if TYPE_CHECKING:
    from maskstream.store.roles import Token
    from maskstream.store.store import Store

_USES: Final = {"add": ("name", "role", "cameras", "expires"), "list": (), "remove": ("name",)}
"""The arguments of each action."""
_UNITS_S: Final = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0}
_LONGEST_S: Final = 100 * 365 * 86_400.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the arguments ACTION and NAME, and the options."""
    add_access_options(parser, _USES, "token")
    parser.add_argument(
        "--expires",
        type=duration_s,
        metavar="TIME",
        help="end of the token: hours, days or weeks, as 12h, 90d, 52w; default: never",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the action, and print its result. `add` prints only the token on standard output."""
    require_arguments(arguments, _USES[arguments.action])
    with opened_store(arguments, create=arguments.action == "add") as store:
        if arguments.action == "list":
            _print_tokens(store)
        elif arguments.action == "remove":
            store.tokens.remove(arguments.name)
            audited(store, "token.remove", arguments.name)
            print(f"{arguments.name}: removed")
        else:
            _add(store, arguments)
    return 0


def duration_s(text: str) -> float:
    """Return the seconds of a text such as `90d`.

    Raises:
        argparse.ArgumentTypeError: It is not a time.
    """
    found = re.fullmatch(r"([1-9]\d{0,8})([hdw])", text)
    if found is None or int(found[1]) * _UNITS_S[found[2]] > _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; give hours, days or weeks as 12h, 90d, 52w")
    return int(found[1]) * _UNITS_S[found[2]]


def _add(store: "Store", arguments: argparse.Namespace) -> None:
    role, cameras = role_of(arguments), cameras_of(arguments)
    expires_s = None if arguments.expires is None else time() + arguments.expires
    secret = store.tokens.add(arguments.name, role, cameras, expires_s)
    audited(store, "token.add", f"{arguments.name}: {access_text(role, cameras)}")
    print(f"{arguments.name}: added; {access_text(role, cameras)}; {_expiry(expires_s)}; it is not shown again:", file=sys.stderr)
    print(secret)


def _print_tokens(store: "Store") -> None:
    tokens = store.tokens.list()
    if not tokens:
        print("no tokens; maskstream token add NAME adds one", file=sys.stderr)
    for token in tokens:
        print(f"{token.name}: {access_text(token.role, token.cameras)}; {_expiry(token.expires_s)}; {_use(token)}")


def _expiry(expires_s: float | None) -> str:
    from maskstream.store.pages import utc_text

    if expires_s is None:
        return "does not expire"
    return f"{'has expired' if expires_s <= time() else 'expires'} {utc_text(expires_s)}"


def _use(token: "Token") -> str:
    from maskstream.store.pages import utc_text

    return "not used" if token.used_s is None else f"last used {utc_text(token.used_s)}"
