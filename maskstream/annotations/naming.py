"""What the names of classes mean."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from maskstream.annotations.raw import BrokenLabel, Entry, Record, brief
from maskstream.config import plain_name
from maskstream.errors import ConfigError
from maskstream.settings import LabelMeaning
from maskstream.types import Label

_NAMED_AT_MOST: Final = 30
_MEANINGS: Final = "mask, no_mask, incorrect, unknown or ignore"


class Names:
    """The table of names: upper and lower case, spaces, hyphens, dots and underscores make no difference."""

    def __init__(self, meanings: Mapping[str, LabelMeaning]) -> None:
        """Take the table as it is configured."""
        self._meanings = {plain_name(name): meaning for name, meaning in meanings.items()}

    def count(self, records: Iterable[Record]) -> dict[str, int]:
        """Return how often each name occurs, as written, the most frequent first.

        Raises:
            ConfigError: Some are not in the table.
        """
        entries = [entry for record in records for entry in record.entries]
        found = Counter(name for entry in entries for name in entry.names)
        unknown = [
            name for entry in entries if entry.label is None for name in entry.names if plain_name(name) not in self._meanings
        ]
        if unknown:
            raise ConfigError(_advice(found, list(dict.fromkeys(unknown))))
        return dict(found.most_common())

    def label_of(self, entry: Entry) -> tuple[Label, bool]:
        """Return the class of a face, and whether its names ask to ignore it.

        Raises:
            BrokenLabel: Its names contradict each other.
        """
        if entry.label is not None:
            return entry.label, False
        meanings = {self._meanings[plain_name(name)] for name in entry.names}
        classes = [meaning for meaning in meanings if meaning not in {"unknown", "ignore"}]
        if len(classes) > 1:
            raise BrokenLabel(f"one face is called {brief(', '.join(entry.names))}, which contradict each other")
        return Label(classes[0]) if classes else Label.UNKNOWN, "ignore" in meanings


def _advice(found: Counter[str], unknown: list[str]) -> str:
    counts = [f"{brief(name)} {count}" for name, count in found.most_common(_NAMED_AT_MOST)]
    more = f" and {len(found) - len(counts)} more" if len(found) > len(counts) else ""
    return (
        f"labels with names that are not in evaluation.labels: {', '.join(map(brief, unknown[:_NAMED_AT_MOST]))} "
        f"(all names found: {', '.join(counts)}{more}); "
        f"say what each means: --set {_assignment(unknown[0])} ({_MEANINGS})"
    )


def _assignment(name: str) -> str:
    key = f"evaluation.labels.{plain_name(name)}=mask"
    return key if re.fullmatch(r"[\w.=]+", key) else repr(key)
