"""Look up the meaning of class names in `evaluation.labels`, and ask the user about ambiguous names."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from maskstream.config.loading import plain_name
from maskstream.config.schema import LabelMeaning

_LONGEST_NAME: Final = 40
_LONGEST_REPEATED: Final = 200
_MOST_NAMED: Final = 5


def ambiguous_names(names: Collection[str], meanings: Mapping[str, LabelMeaning]) -> list[str]:
    """Return the names that may mean either `unknown` or the class without a name of its own.

    `face` with `face_mask` alone may be a bare face; with `face_mask` and `no_mask` it is a face of unknown class.

    Args:
        names: All class names of a set of labels, or of a model.
        meanings: `evaluation.labels`. Only a name with the meaning `ask` can be ambiguous.
    """
    known = {plain_name(name): meaning for name, meaning in meanings.items()}
    found = {name: known.get(plain_name(name)) for name in names}
    classes = set(found.values()) & {"mask", "no_mask", "incorrect"}
    if not classes or classes >= {"mask", "no_mask"}:
        return []
    return [name for name, meaning in found.items() if meaning == "ask"]


def question(ambiguous: Collection[str], names: Collection[str], meanings: Mapping[str, LabelMeaning]) -> str:
    """Return a question to the user about ambiguous names, in one line, with the setting that answers it."""
    known = {plain_name(name): meaning for name, meaning in meanings.items()}
    masked_only = "no_mask" not in {known.get(plain_name(name)) for name in names}
    first, *_ = ambiguous
    others = [f"{name:.{_LONGEST_NAME}}" for name in dict.fromkeys(names) if name not in ambiguous]
    more = " and others" if len(others) > _MOST_NAMED else ""
    return (
        f"{', '.join(f'{name:.{_LONGEST_NAME}}' for name in ambiguous)} beside {', '.join(others[:_MOST_NAMED])}{more} may mean "
        f"a face {'without' if masked_only else 'with'} a mask, or one of unknown class; "
        f"say which: {setting_of(first, 'no_mask' if masked_only else 'mask')} (or unknown, or another meaning)"
    )


def setting_of(name: str, meaning: LabelMeaning) -> str:
    """Return the option that sets the meaning of a name, quoted for a shell; a very long name is replaced by NAME."""
    key = f"evaluation.labels.{plain_name(name) if len(name) <= _LONGEST_REPEATED else 'NAME'}={meaning}"
    return f"--set {key}" if re.fullmatch(r"[\w.=]+", key) else f"--set {key!r}"
