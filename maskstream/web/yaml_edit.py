"""Edit a YAML document so that only the lines of the edit change: comments, order, quotes and spaces of the others are kept.

ruamel.yaml changes the document and keeps its comments, but writes some lines in another format. The lines that it would write
without the edit show which ones the edit changes. Only these are taken from it.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import SequenceMatcher
from io import StringIO
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString

from maskstream.config.yaml_text import NOT_YAML, parse_yaml
from maskstream.errors import ConfigError

_NO_WRAP: Final = 1 << 30
_DEEPEST: Final = 8
"""The maximum number of spaces between two levels."""
_KEYS: Final[Mapping[object, str]] = {True: "true", False: "false", None: "null"}
_Lines = list[str]


def edit_yaml(text: str, edit: Callable[[CommentedSeq], None], entry: int = -1) -> str:
    """Return a document after an edit.

    Args:
        text: A document with a list, with any line ends.
        edit: Changes the list of ruamel.yaml in place.
        entry: The index of the entry whose indentation added lines get.

    Raises:
        ConfigError: ruamel.yaml cannot read the document.
    """
    plain, newline = text.replace("\r\n", "\n"), "\r\n" if "\r\n" in text else "\n"
    try:
        form = _form_of(YAML().load(plain), entry)
        base = _written(plain, form)
        edited = _written(plain, form, edit)
    except (YAMLError, *NOT_YAML) as error:
        raise ConfigError(f"the YAML is too unusual to be edited here ({type(error).__name__}); edit the file") from error
    merged = _merge(text.split("\n"), base.split("\n"), edited.split("\n"), newline.removesuffix("\n"))
    return merged if _content(merged) == _content(edited) else edited.replace("\n", newline)


def update(mapping: CommentedMap, current: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Change a mapping of ruamel.yaml to the wanted content. Keys whose value is right already are not touched.

    Args:
        mapping: The mapping.
        current: Its content as the program reads it.
        wanted: The content that it should have.
    """
    keys = {_name(key): key for key in mapping}
    for name, key in keys.items():
        if name not in wanted:
            del mapping[key]
    for name, value in wanted.items():
        before, key = current.get(name), keys.get(name, name)
        if name in current and before == value and isinstance(before, bool) is isinstance(value, bool):  # 1 is True
            continue
        nested = mapping.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and isinstance(nested, CommentedMap):
            update(nested, before, value)
        else:
            mapping[key] = styled(value, nested)


def _name(key: object) -> str:
    """Return a key of ruamel.yaml as the program reads it."""
    return _KEYS[key] if key is None or isinstance(key, bool) else str(key)


def styled(value: Any, like: object = None) -> Any:
    """Return a value as a person would write it: lists in one line, text without quotes where YAML reads it as text.

    Args:
        value: Mappings, lists, text, numbers, booleans and None.
        like: The value that it replaces. Text gets the same quotes.
    """
    if isinstance(value, Mapping):
        block = CommentedMap()
        for key, each in value.items():
            block[styled(key)] = styled(each)
        return block
    if isinstance(value, list | tuple):
        flow = CommentedSeq([styled(each) for each in value])
        flow.fa.set_flow_style()
        return flow
    if isinstance(value, str):
        if isinstance(like, ScalarString):
            return type(like)(value)
        return value if _is_plain(value) else DoubleQuotedScalarString(value)
    return value


def _is_plain(text: str) -> bool:
    """Return whether YAML reads a text without quotes as this text."""
    try:
        return bool(yaml.safe_load(text) == text)
    except NOT_YAML:
        return False


def _form_of(document: Any, entry: int) -> dict[str, int]:
    """Return the indentation of an entry of a list, as `YAML.indent` takes it."""
    if not isinstance(document, CommentedSeq):
        raise ConfigError("not a list of cameras; see configs/cameras.yaml")
    block = document[entry] if document else None
    if document.fa.flow_style() or not isinstance(block, CommentedMap) or block.fa.flow_style():
        return {"mapping": 2, "sequence": 2, "offset": 0}
    column = block.lc.col
    nested = [value.lc.col - column for value in block.values() if isinstance(value, CommentedMap)]
    steps = [step for step in nested if 0 < step <= _DEEPEST]  # others are flow mappings and aliases
    return {"mapping": steps[0] if steps else 2, "sequence": column, "offset": document.lc.col}


def _written(text: str, form: Mapping[str, int], edit: Callable[[CommentedSeq], None] | None = None) -> str:
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = _NO_WRAP
    writer.indent(**form)
    document = writer.load(text)
    if edit is not None:
        edit(document)
    written = StringIO()
    writer.dump(document, written)
    return written.getvalue().replace(": [ [", ": [[")  # as ruamel.yaml writes it in an indented list


def _content(text: str) -> Any:
    try:
        return parse_yaml(text)
    except NOT_YAML:
        return NotImplemented


def _merge(original: _Lines, base: _Lines, edited: _Lines, ending: str) -> str:
    """Return the original lines with the changes between `base` and `edited`.

    The lines that all three have in common stay as they are in `original`. Between two of them, `edited` counts where it differs
    from `base`.

    Args:
        original: The lines of the file.
        base: The lines of the same content, as ruamel.yaml writes it.
        edited: The lines of the edited content, as ruamel.yaml writes it.
        ending: The end of each line that is added.
    """
    in_original = _spans([_bare(line) for line in base], [_bare(line) for line in original])
    in_edited = _matches(base, edited)
    result: _Lines = []
    at_base = at_original = at_edited = 0
    for line in [*sorted(in_original.keys() & in_edited.keys()), len(base)]:
        span, to_edited = in_original.get(line, slice(len(original), None)), in_edited.get(line, len(edited))
        ours, before, after = original[at_original : span.start], base[at_base:line], edited[at_edited:to_edited]
        added = [f"{text}{ending}" for text in after]
        if before == after:
            result += ours
        elif before:
            _replace(result, ours, added)
        else:
            _insert(result, added, original)
            result += ours
        is_second_blank = before and not after and _ends_blank(result) and _ends_blank(original[span])
        if not is_second_blank:
            result += original[span]
        at_base, at_original, at_edited = line + 1, span.stop, to_edited + 1
    while (
        _ends_blank(result[:-1]) and _ends_blank(result) and any(_bare(line) for line in original[-2:])
    ):  # the last entry is gone
        result.pop()
    return "\n".join(result)


def _matches(first: Sequence[str], second: Sequence[str]) -> dict[int, int]:
    """Return the lines of `first` that `second` also has, in the same order, with their numbers in `second`."""
    blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    return {block.a + step: block.b + step for block in blocks for step in range(block.size)}


def _spans(base: _Lines, original: _Lines) -> dict[int, slice]:
    """Return for each line of `base` the lines of `original` with the same text. ruamel.yaml joins the lines of a value."""
    exact = _matches(base, original)
    spans: dict[int, slice] = {}
    start = 0
    for number, line in enumerate(base):
        stop = start = exact.get(number, start)
        text = ""
        while stop < len(original) and text != line and line.startswith(text):
            text += original[stop]
            stop += 1
        if number in exact:
            stop = start + 1
        elif text != line or any(start <= taken < stop for taken in exact.values()):
            continue
        spans[number] = slice(start, stop)
        start = stop
    return spans


def _insert(result: _Lines, added: _Lines, original: _Lines) -> None:
    """Add lines. Keys are added before comments of what follows their mapping, entries after a blank line where others are."""
    spot = len(result)
    while spot and _is_note(result[spot - 1]) and _indent(result[spot - 1]) < _indent(added[0]):
        spot -= 1
    is_entry = added[0].lstrip().startswith("-")
    starts = [number for number, line in enumerate(original) if line.startswith(added[0][: _indent(added[0]) + 1])]
    if is_entry and spot and result[spot - 1].strip() and any(not line.strip() for line in original[slice(*starts[:2])]):
        added = ["", *added]
    result[spot:spot] = added


def _replace(result: _Lines, removed: _Lines, added: _Lines) -> None:
    """Add lines in place of removed ones. Of the comments around those, only the one directly above belongs to them."""
    first = next((number for number, line in enumerate(removed) if not _is_note(line)), len(removed))
    above, removed = removed[:first], removed[first:]
    known = set(map(_bare, added))
    result += [line for line in above if _bare(line) not in known]
    if removed and not added:
        _drop_comment_above(result, _indent(removed[0]))
    result += added
    below = _notes_below(removed)
    if added and (_ends_blank(added) or known & {_bare(line) for line in below if _bare(line)}):
        return  # ruamel.yaml has kept them
    while below and _ends_blank(below[:1]) and _ends_blank(result):
        del below[0]
    result += below


def _notes_below(removed: _Lines) -> _Lines:
    """Return the blank lines and comments at the end of removed lines that belong to what follows."""
    end = len(removed)
    while end and _is_note(removed[end - 1]):
        end -= 1
    while 0 < end < len(removed) and _indent(removed[end]) > _indent(removed[0]):  # a comment of what is removed
        end += 1
    return removed[end:]


def _drop_comment_above(result: _Lines, indent: int) -> None:
    """Remove the comment directly above removed lines that has their indentation, unless it is the head of the file."""
    first = len(result)
    while first and result[first - 1].lstrip().startswith("#") and _indent(result[first - 1]) == indent:
        first -= 1
    if first:
        del result[first:]


def _ends_blank(lines: _Lines) -> bool:
    return bool(lines) and not lines[-1].strip()


def _is_note(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _indent(line: str) -> int:
    """Return the number of spaces before the text of a line; -1 for a blank line."""
    return len(line) - len(line.lstrip()) if line.strip() else -1


def _bare(line: str) -> str:
    return "".join(line.split())
