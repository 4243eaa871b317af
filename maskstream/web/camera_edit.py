"""Describe the entries of a list of cameras, and change one of them in the text of the list."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml.comments import CommentedSeq

from maskstream.config.cameras import PER_CAMERA, list_entries
from maskstream.errors import ConfigError
from maskstream.web.yaml_edit import edited_texts, styled, update

Entry = Mapping[str, Any]
"""A camera in a list: `name`, `url`, `zones` and sections of settings."""
_OTHERS: Final = ("name", "url", "zones")
"""The keys of an entry that are no sections of settings."""
_DECIMALS: Final = 4
"""Digits of a corner. A ten-thousandth of the frame is less than a pixel."""


@dataclass(frozen=True)
class CameraChange:
    """A change of a camera, or a camera to add. None leaves a part as it is."""

    url: str | None = field(default=None, repr=False)
    zones: Mapping[str, Sequence[Sequence[float]]] | None = None
    """All zones: others are removed."""
    settings: Mapping[str, Any] | None = None
    """All of its own settings besides the zones: others are removed."""


def name_of(entry: object) -> str | None:
    """Return the name of an entry; None where it has no name and url."""
    if isinstance(entry, Mapping) and isinstance(entry.get("name"), str) and isinstance(entry.get("url"), str):
        return str(entry["name"]).strip()
    return None


def index_of(entries: Sequence[object], name: str) -> int | None:
    """Return the index of a camera; None where the list does not have it."""
    return next((index for index, entry in enumerate(entries) if name_of(entry) == name), None)


def settings_of(entry: Entry) -> dict[str, Any]:
    """Return a camera's own settings besides its zones."""
    return {section: values for section, values in entry.items() if section not in _OTHERS}


def changed_entry(name: str, before: Entry | None, change: CameraChange) -> dict[str, Any]:
    """Return an entry after a change.

    Args:
        name: The camera.
        before: Its entry; None where it is added.
        change: The change.

    Raises:
        ConfigError: A part is missing, or is given in the wrong place.
    """
    if before is None and not change.url:
        raise ConfigError(f"{name}: url is missing; a camera that is added needs one")
    after: dict[str, Any] = dict(before or {"name": name})
    if change.url is not None:
        after["url"] = change.url.strip()
    if change.zones is not None:
        after["zones"] = {zone: _rounded(polygon) for zone, polygon in change.zones.items()}
        if not change.zones:
            del after["zones"]
    if change.settings is not None:
        after = {key: after[key] for key in _OTHERS if key in after} | _own_settings(change.settings)
    return after


def _own_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without empty sections."""
    misplaced = next((key for key in _OTHERS if key in settings), None)
    if misplaced is not None:
        raise ConfigError(f"settings: {misplaced} is not a setting; give it beside settings")
    return {section: values for section, values in settings.items() if values != {} or section not in PER_CAMERA}


def _rounded(polygon: Sequence[Sequence[float]]) -> list[list[float]]:
    corners = [[round(value, _DECIMALS) for value in corner] for corner in polygon]
    return [[int(value) if value == int(value) else value for value in corner] for corner in corners]


def edited_list(path: str, text: str, name: str, after: Entry | None) -> str:
    """Return the text of a list with one camera changed, added at the end, or removed.

    Args:
        path: The file, for messages.
        text: Its content.
        name: The camera.
        after: Its entry after the edit; None: it is removed.

    Raises:
        ConfigError: The list is wrong, or has a form that cannot be edited here.
    """
    entries = list_entries(path, text)
    index = index_of(entries, name)
    place = len(entries) if index is None else index
    expected = [*entries[:place], *([] if after is None else [after]), *entries[place + 1 :]]

    def edit(document: CommentedSeq) -> None:
        if after is None:
            del document[place]
        elif index is None:
            document.append(styled(after))
        else:
            update(document[place], entries[place], after)

    for edited in edited_texts(text, edit, -1 if index is None else index):
        if _has_entries(path, edited, expected):
            return edited
    raise ConfigError(f"{path}: has a form in which {name} cannot be edited here; edit the file")


def _has_entries(path: str, text: str, entries: Sequence[object]) -> bool:
    try:
        return list_entries(path, text) == entries
    except ConfigError:
        return False
