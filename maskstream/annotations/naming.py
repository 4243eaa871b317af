"""Look up the meanings of class names (`evaluation.labels`)."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from maskstream.annotations.raw_labels import BrokenLabel, Entry, Record, brief
from maskstream.config.label_meanings import ambiguous_names, question, setting_of
from maskstream.config.loading import plain_name
from maskstream.config.schema import LabelMeaning
from maskstream.errors import ConfigError
from maskstream.types import Label

_NAMED_AT_MOST: Final = 30
_NO_CLASS: Final = frozenset({"unknown", "ignore", "ask"})
_MEANINGS: Final = "mask, no_mask, incorrect, unknown or ignore"


class Names:
    """The meanings of class names. Case, spaces, hyphens, dots and underscores make no difference."""

    def __init__(self, meanings: Mapping[str, LabelMeaning], *, classes_matter: bool = True) -> None:
        """Take `evaluation.labels` of the configuration; accept ambiguous names unless `classes_matter`."""
        self._meanings = {plain_name(name): meaning for name, meaning in meanings.items()}
        self._classes_matter = classes_matter

    def count(self, records: Iterable[Record], listed: Iterable[str] = ()) -> dict[str, int]:
        """Count the faces of each name, as written, the most frequent name first.

        Args:
            records: Labels of the images that exist.
            listed: Names in the list of classes of the labels, whether or not they occur.

        Raises:
            ConfigError: A name has no meaning, or is ambiguous beside the other names.
        """
        entries = [entry for record in records for entry in record.entries]
        found: Counter[str] = Counter()
        unknown: dict[str, None] = {}
        for entry in entries:
            found.update(entry.names)
            if entry.label is None:
                unknown.update(dict.fromkeys(name for name in entry.names if plain_name(name) not in self._meanings))
        if unknown:
            raise ConfigError(_advice(found, list(unknown)))
        if self._classes_matter:
            self._require_clear(entries, list(dict.fromkeys([*found, *listed])))
        return dict(found.most_common())

    def _require_clear(self, entries: list[Entry], names: list[str]) -> None:
        """Refuse a name that is the only class name of a face and is ambiguous beside the other names."""
        alone: set[str] = set()
        for entry in entries:
            if entry.label is None and all(self._meanings[plain_name(name)] in _NO_CLASS for name in entry.names):
                alone.update(entry.names)
        ambiguous = [name for name in ambiguous_names(names, self._meanings) if name in alone]
        if ambiguous:
            raise ConfigError(f"labels: {question(ambiguous, names, self._meanings)}")

    def label_of(self, entry: Entry) -> tuple[Label, bool]:
        """Return the class of a face, and whether one of its names means `ignore`.

        Raises:
            BrokenLabel: Its names contradict each other.
        """
        if entry.label is not None:
            return entry.label, False
        meanings = {self._meanings[plain_name(name)] for name in entry.names}
        classes = [meaning for meaning in meanings if meaning not in _NO_CLASS]
        if len(classes) > 1:
            raise BrokenLabel(f"one face has the names {brief(', '.join(entry.names))}, which contradict each other")
        return Label(classes[0]) if classes else Label.UNKNOWN, "ignore" in meanings


def _advice(found: Counter[str], unknown: list[str]) -> str:
    counts = [f"{brief(name)} {count}" for name, count in found.most_common(_NAMED_AT_MOST)]
    more = f" and {len(found) - len(counts)} more" if len(found) > len(counts) else ""
    return (
        f"labels with names that are not in evaluation.labels: {', '.join(map(brief, unknown[:_NAMED_AT_MOST]))} "
        f"(all names found: {', '.join(counts)}{more}); "
        f"set a meaning for each: {setting_of(unknown[0], 'mask')} ({_MEANINGS})"
    )
