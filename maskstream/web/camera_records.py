"""Make the JSON of cameras: their state, their last outage, and whether they can be edited."""

from collections.abc import Sequence
from threading import Lock
from typing import Any, Final

from maskstream.errors import StoreError
from maskstream.store.roles import Role
from maskstream.web.context import WebContext
from maskstream.web.fleet_records import placed_records
from maskstream.web.requests import Access

_KEPT_S: Final = 10.0
"""What is read from files is used again for this time."""


class CameraRecords:
    """Makes the records of all cameras for clients that get them every two seconds. It reads files at most every 10 s."""

    def __init__(self, context: WebContext) -> None:
        """Read nothing yet."""
        self._context = context
        self._lock = Lock()
        self._sources: dict[str, tuple[str, bool]] = {}
        """Redacted url and whether it can be edited, by camera."""
        self._outages: dict[str, dict[str, Any] | None] = {}
        self._read_at_s = -float("inf")

    def forget(self) -> None:
        """Read the files again at the next call: a camera has changed."""
        self._read_at_s = -float("inf")

    def all(self) -> list[dict[str, Any]]:
        """Return the records of all cameras. It may read files: do not call it in the event loop."""
        context = self._context
        if context.fleet is not None:
            records = placed_records(context.fleet())
        elif context.live is not None:
            records = [view.record() for view in context.live.cameras()]
        else:
            return []
        with self._lock:
            now_s = context.clock.now_s()
            if now_s - self._read_at_s >= _KEPT_S:
                self._read_at_s = now_s
                self._outages.clear()
                entries = () if context.cameras is None else context.cameras.entries()
                self._sources = {entry.name: (entry.shown_url, not entry.obstacle) for entry in entries}
            for record in records:
                name = record["camera"]
                record["source"], record["editable"] = self._sources.get(name, (None, False))
                if record.get("last_outage") is None:
                    record["last_outage"] = self._stored_outage(name)
        return records

    def _stored_outage(self, name: str) -> dict[str, Any] | None:
        """Return the last outage of earlier runs."""
        if name not in self._outages:
            try:
                outage = self._context.store.states.last_outage(name)
            except StoreError:  # the state of the store is reported elsewhere
                outage = None
            self._outages[name] = (
                None if outage is None else {"began_utc": outage.began_utc, "ended_utc": outage.ended_utc, "cause": outage.cause}
            )
        return self._outages[name]


def shown_to(records: Sequence[dict[str, Any]], access: Access) -> list[dict[str, Any]]:
    """Return the records of the cameras that a client may see. Only an administrator sees their sources."""
    visible = [record for record in records if access.may_see(record["camera"])]
    if access.role.includes(Role.ADMIN):
        return visible
    return [{**record, "source": None, "editable": False} for record in visible]


def camera_records(context: WebContext, access: Access) -> list[dict[str, Any]]:
    """Return the records of the cameras that a client may see. It reads files: do not call it in the event loop."""
    return shown_to(CameraRecords(context).all(), access)
