"""Show and edit the lists of cameras of a run, as a careful person would: only the lines of the edit change."""

import hmac
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import time
from typing import Any, Final

from maskstream.clock import MONOTONIC, Clock
from maskstream.config.cameras import Camera, is_list, list_entries, read_cameras
from maskstream.config.environment import expand
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import MaskStreamError
from maskstream.io.locations import is_url, plain_location, source_name, webcam_of
from maskstream.web.camera_edit import CameraChange, Entry, changed_entry, edited_list, index_of, name_of, settings_of
from maskstream.web.camera_input import require_name, require_url, shown_url
from maskstream.web.list_file import ListFile, content_like, text_of
from maskstream.web.list_refusal import CameraListError, Refusal, as_refusal, unknown_camera, writing

_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class CameraEntry:
    """A camera as its list describes it."""

    name: str
    shown_url: str
    """Without passwords; references such as `${NAME}` are kept."""
    url_key: str
    """Changes with the url, its password included, and does not reveal it."""
    zones: dict[str, Any]
    settings: dict[str, Any]
    """Its own settings besides the zones."""
    etag: str
    """Changes with the entry. A password in the url cannot be guessed from it."""
    obstacle: str
    """Why it cannot be edited, and what to do; empty where it can."""


class CameraLists:
    """The lists of cameras of a run. Several threads may call it; edits are made in sequence."""

    def __init__(
        self,
        locations: Sequence[str],
        config: Config,
        command_line: Sequence[Layer] = (),
        check: Callable[[Config], None] | None = None,
        clock: Clock = MONOTONIC,
        now_s: Callable[[], float] = time,
    ) -> None:
        """Store the arguments; read nothing.

        Args:
            locations: All values of `--source`.
            config: The configuration of cameras without settings of their own.
            command_line: The layers that override a camera's own settings.
            check: Raises `MaskStreamError` where the loaded models do not allow the settings of a camera.
            clock: Waits until another program has written a list.
            now_s: The time of the system in seconds: the clock of modification times.
        """
        self._locations = tuple(locations)
        self._config = config
        self._command_line = tuple(command_line)
        self._check = check
        self._lists = {location: ListFile(location, clock, now_s) for location in locations if is_list(location)}
        self._known: dict[str, tuple[bytes, list[Entry]]] = {}
        """The latest content of each list, and its entries: parsing YAML takes long."""
        self._key = os.urandom(32)
        self._lock = Lock()

    def entries(self) -> list[CameraEntry]:
        """Return the cameras of all lists, in order. A list that is wrong now has none."""
        found: list[CameraEntry] = []
        for location, file in self._lists.items():
            obstacle = file.obstacle()
            found += [self._shown(entry, obstacle) for entry in self._described(location)]
        return found

    def entry(self, name: str) -> CameraEntry | None:
        """Return a camera; None where no list has it."""
        return next((entry for entry in self.entries() if entry.name == name), None)

    def obstacle(self) -> str:
        """Return why no camera can be added, and what to do; empty where one can."""
        obstacles = [file.obstacle() for file in self._lists.values()]
        if not obstacles:
            return "the run has no list of cameras; start it with --source cameras.yaml"
        return obstacles[0] if all(obstacles) else ""

    def require_url(self, url: str) -> None:
        """Refuse a url that a client may not give to a camera; see `camera_input.require_url`.

        Raises:
            MaskStreamError: The url is not allowed.
        """
        urls = [str(entry["url"]) for location in self._lists for entry in self._described(location)]
        places = [Path(url) for url in (*urls, *self._locations) if not is_url(url) and webcam_of(url) is None]
        require_url(url, urls, [place if place.is_dir() else place.absolute().parent for place in places])

    def camera(self, name: str) -> Camera:
        """Return a camera of the lists or of the command line, with its password.

        Raises:
            CameraListError: None has this name, or a list is wrong.
        """
        with as_refusal(Refusal.NOT_EDITABLE):
            cameras = read_cameras(self._locations, self._config, self._command_line)
        found = next((camera for camera in cameras if camera.name == name), None)
        if found is None:
            raise unknown_camera(name)
        return found

    def camera_at(self, url: str) -> Camera:
        """Return a camera at a url that a client may use, with the common settings.

        Raises:
            CameraListError: The url is not allowed.
        """
        with as_refusal(Refusal.WRONG):
            self.require_url(url)
            location = plain_location(expand(url, "url"))
        return Camera(source_name(location), location, self._config)

    def put(self, name: str, change: CameraChange, if_match: str | None) -> CameraEntry:
        """Change a camera, or add it to the first list that can be written.

        Args:
            name: The camera.
            change: The change. A camera that is added needs a url.
            if_match: `CameraEntry.etag` as the client has read it; None to add a camera.

        Returns:
            The entry as it is now.

        Raises:
            CameraListError: Nothing is changed.
        """

        def changed(before: Entry | None) -> Entry:
            if before is None:
                require_name(name)
            for zone in change.zones or {}:
                require_name(zone, "zone")
            if change.url is not None:
                self.require_url(change.url)
            return changed_entry(name, before, change)

        with self._lock:
            location = self._location_of(name) or self._location_for_new()
            after = self._edit(location, name, if_match, changed)
            assert after is not None
            return self._shown(after, self._lists[location].obstacle())

    def remove(self, name: str, if_match: str | None) -> None:
        """Remove a camera from its list.

        Args:
            name: The camera.
            if_match: `CameraEntry.etag` as the client has read it.

        Raises:
            CameraListError: Nothing is changed.
        """
        with self._lock:
            location = self._location_of(name)
            if location is None:
                raise unknown_camera(name)
            self._edit(location, name, if_match, None)

    def _described(self, location: str) -> list[Entry]:
        try:
            content = self._lists[location].read()
        except OSError:
            return []
        known = self._known.get(location)
        if known is None or known[0] != content:
            try:
                entries = list_entries(location, text_of(location, content))
            except MaskStreamError:
                entries = []
            known = self._known[location] = content, [entry for entry in entries if name_of(entry) is not None]
        return known[1]

    def _shown(self, entry: Entry, obstacle: str) -> CameraEntry:
        zones = entry.get("zones")
        return CameraEntry(
            name=str(name_of(entry)),
            shown_url=shown_url(str(entry["url"]).strip()),
            url_key=self._key_of(entry["url"]),
            zones=zones if isinstance(zones, dict) else {},
            settings=settings_of(entry),
            etag=self._key_of(entry),
            obstacle=obstacle,
        )

    def _key_of(self, value: object) -> str:
        text = json.dumps(value, default=str)
        return hmac.new(self._key, text.encode(errors="surrogatepass"), "sha256").hexdigest()[:32]

    def _location_of(self, name: str) -> str | None:
        return next((place for place in self._lists if index_of(self._described(place), name) is not None), None)

    def _location_for_new(self) -> str:
        obstacle = self.obstacle()
        if obstacle:
            raise CameraListError(Refusal.NOT_EDITABLE, obstacle)
        return next(place for place, file in self._lists.items() if not file.obstacle())

    def _edit(
        self, location: str, name: str, if_match: str | None, change: Callable[[Entry | None], Entry] | None
    ) -> Entry | None:
        """Replace a list with one camera changed, or removed where `change` is None, and return its entry.

        The edit begins again where another program has changed the list meanwhile.
        """
        file = self._lists[location]
        obstacle = file.obstacle()
        if obstacle:
            raise CameraListError(Refusal.NOT_EDITABLE, obstacle)
        for _ in range(_ATTEMPTS):
            with writing(location):
                content = file.read_complete()
            with as_refusal(Refusal.NOT_EDITABLE, "; correct the list first"):
                text = text_of(location, content)
                entries = list_entries(location, text)
            index = index_of(entries, name)
            before = None if index is None else entries[index]
            self._require_same(name, before, if_match)
            if before is None and change is None:
                raise unknown_camera(name)
            with as_refusal(Refusal.WRONG):
                after = None if change is None else change(before)
            if after is None and len(entries) == 1:
                raise CameraListError(Refusal.NOT_EDITABLE, f"{name}: is the last camera of {location}; add another one first")
            with as_refusal(Refusal.WRONG):
                edited = edited_list(location, text, name, after)
            if edited == text:
                return after
            self._require_valid(location, text, edited, name)
            with writing(location):
                if file.replace(content, content_like(content, edited)):
                    return after
        raise CameraListError(Refusal.CHANGED, f"{location}: another program keeps changing it; try again")

    def _require_same(self, name: str, before: Entry | None, if_match: str | None) -> None:
        if before is None and if_match is not None:
            raise CameraListError(Refusal.CHANGED, f"{name:.80}: was removed meanwhile; read the cameras again")
        if before is not None and if_match is None:
            raise CameraListError(Refusal.CHANGED, f"{name}: exists already; read it again, and send its etag")
        if before is not None and not hmac.compare_digest(self._key_of(before).encode(), str(if_match).encode()):
            raise CameraListError(Refusal.CHANGED, f"{name}: was changed meanwhile; read it again")

    def _require_valid(self, location: str, text: str, edited: str, name: str) -> None:
        """Refuse an edited list that the run would refuse."""
        try:
            cameras = self._cameras(location, edited)
        except MaskStreamError as error:
            with as_refusal(Refusal.NOT_EDITABLE, "; correct the list first"):
                self._cameras(location, text)
            raise CameraListError(Refusal.WRONG, str(error)) from error
        with as_refusal(Refusal.WRONG):
            for camera in cameras:
                if camera.name == name and self._check is not None:
                    self._check(camera.config)

    def _cameras(self, location: str, text: str) -> list[Camera]:
        return read_cameras(self._locations, self._config, self._command_line, {location: text})
