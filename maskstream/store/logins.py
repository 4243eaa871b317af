"""Limit failed logins per account and per address: five in a minute, then a pause that doubles from 1 to 15 minutes."""

import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from threading import Lock
from typing import Final

from maskstream.errors import StoreError
from maskstream.store.database import Database
from maskstream.store.roles import name_key

FREE_FAILURES: Final = 5
WINDOW_S: Final = 60.0
FIRST_PAUSE_S: Final = 60.0
LONGEST_PAUSE_S: Final = 900.0
_FORGET_S: Final = 86_400.0
_KNOWN_S: Final = 90 * 86_400.0
"""The time for which the address of a successful login is known."""
_IPV6_BITS: Final = 64
"""A subscriber usually gets a network of this size."""
_MAX_UNSAVED: Final = 10_000


@dataclass(frozen=True)
class Attempts:
    """The failed logins of one account or address. All times are seconds since 1970."""

    failures: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    blocked_s: float = 0.0
    """No login is allowed before this time."""

    def at(self, now_s: float) -> "Attempts":
        """Return the attempts with their times moved back, where the clock was set back: a pause then keeps its length."""
        back_s = self.last_s - now_s
        if back_s <= 0.0:
            return self
        return replace(self, first_s=self.first_s - back_s, last_s=now_s, blocked_s=self.blocked_s - back_s)

    def wait_s(self, now_s: float) -> float:
        """Return the seconds until the next login is allowed."""
        return max(0.0, self.blocked_s - now_s)

    def after_failure(self, now_s: float) -> "Attempts":
        """Count a failed login."""
        is_quiet = now_s >= max(self.blocked_s, self.last_s) + LONGEST_PAUSE_S
        is_within_window = self.failures >= FREE_FAILURES or now_s < self.first_s + WINDOW_S
        if not self.failures or is_quiet or not is_within_window:
            return Attempts(failures=1, first_s=now_s, last_s=now_s)
        counted = replace(self, failures=self.failures + 1, last_s=now_s)
        if counted.failures < FREE_FAILURES:
            return counted
        pause_s = min(FIRST_PAUSE_S * 2.0 ** min(counted.failures - FREE_FAILURES, 10), LONGEST_PAUSE_S)
        return replace(counted, blocked_s=now_s + pause_s)


NO_ATTEMPTS: Final = Attempts()


class LoginTable:
    """The failed logins, on disk; in memory while the disk is full.

    An attack on an account does not limit the addresses from which its user has logged in before.
    """

    def __init__(self, database: Database) -> None:
        """Use an open database."""
        self._database = database
        self._lock = Lock()
        self._unsaved: dict[str, Attempts] = {}

    def begin(self, account: str, address: str) -> float:
        """Count a login as failed before its password is checked, so that parallel logins are limited too.

        Args:
            account: The name that was given; it need not exist.
            address: The IP address of the client.

        Returns:
            0: check the password, and call `succeeded` if it is right. Otherwise the seconds to wait; nothing was counted.

        Raises:
            StoreError: The file cannot be read.
        """
        keys = self._keys(account, address)
        with self._lock:  # so that the logins of many threads are counted in sequence
            now_s = self._database.now_s()
            attempts = {key: self._read(key, now_s) for key in keys}
            wait_s = max(each.wait_s(now_s) for each in attempts.values())
            if wait_s <= 0.0:
                attempts = {key: each.after_failure(now_s) for key, each in attempts.items()}
            self._remember(attempts)
        self._save()
        return wait_s

    def wait_s(self, account: str, address: str) -> float:
        """Return the seconds until this account and this address may log in.

        Raises:
            StoreError: The file cannot be read.
        """
        now_s = self._database.now_s()
        return max(self._read(key, now_s).wait_s(now_s) for key in self._keys(account, address))

    def succeeded(self, account: str, address: str) -> None:
        """Delete the failed logins of the account, and one failed login of the address.

        Raises:
            StoreError: The file cannot be read.
        """
        account_key, address_key = self._keys(account, address)
        with self._lock:
            now_s = self._database.now_s()
            of_address = self._read(address_key, now_s)
            remaining = replace(of_address, failures=of_address.failures - 1, blocked_s=0.0)
            cleared = remaining if remaining.failures > 0 else NO_ATTEMPTS
            known = Attempts(last_s=now_s)
            self._remember({account_key: NO_ATTEMPTS, address_key: cleared, _known_key(account, address): known})
        self._save()

    def _keys(self, account: str, address: str) -> tuple[str, str]:
        known_key = _known_key(account, address)
        with self._database.reading() as connection:
            is_known = connection.execute("SELECT 1 FROM logins WHERE key = ?", (known_key,)).fetchone() is not None
        account_key = f"account at {known_key}" if is_known else f"account {_digest(name_key(account))}"
        return account_key, f"address {_network(address)}"

    def _read(self, key: str, now_s: float) -> Attempts:
        if key in self._unsaved:
            return self._unsaved[key].at(now_s)
        with self._database.reading() as connection:
            statement = "SELECT failures, first_s, last_s, blocked_s FROM logins WHERE key = ?"
            row = connection.execute(statement, (key,)).fetchone()
        return NO_ATTEMPTS if row is None else Attempts(*row).at(now_s)

    def _remember(self, changes: Mapping[str, Attempts]) -> None:
        self._unsaved |= changes
        while len(self._unsaved) > _MAX_UNSAVED:
            del self._unsaved[next(iter(self._unsaved))]

    def _save(self) -> None:
        """Write the attempts that are in memory only. After an error, which the writer has logged, they stay in memory."""
        with self._lock:
            changes = dict(self._unsaved)
        now_s = self._database.now_s()
        with suppress(StoreError):
            self._database.write(lambda connection: _write(connection, changes, now_s))
            with self._lock:
                for key, attempts in changes.items():
                    if self._unsaved.get(key) is attempts:
                        del self._unsaved[key]


def _write(connection: sqlite3.Connection, changes: Mapping[str, Attempts], now_s: float) -> None:
    connection.execute("DELETE FROM logins WHERE last_s < iif(key LIKE 'known %', ?, ?)", (now_s - _KNOWN_S, now_s - _FORGET_S))
    for key, each in changes.items():
        if each == NO_ATTEMPTS:
            connection.execute("DELETE FROM logins WHERE key = ?", (key,))
        else:
            row = (key, each.failures, each.first_s, each.last_s, each.blocked_s)
            connection.execute(
                "INSERT OR REPLACE INTO logins (key, failures, first_s, last_s, blocked_s) VALUES (?, ?, ?, ?, ?)", row
            )


def _known_key(account: str, address: str) -> str:
    return f"known {_digest(name_key(account))} {_network(address)}"


def _digest(text: str) -> str:
    """Return a hash of a name: the name may be long, or a password that was typed into the wrong field."""
    return sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]


def _network(address: str) -> str:
    """Return the address; for IPv6 its network, because one client has many addresses."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return _digest(address)
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _IPV6_BITS << _IPV6_BITS)}/{_IPV6_BITS}"
