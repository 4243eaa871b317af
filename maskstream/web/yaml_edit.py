"""Edit a YAML document so that only the lines of the edit change: comments, order, quotes and spaces of the others are kept.

ruamel.yaml changes the document and keeps its comments, but writes some lines in another format. The lines that it would write
without the edit show which ones the edit changes. Only these are taken from it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from io import StringIO
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, ScalarString

from maskstream.config.yaml_text import NOT_YAML
from maskstream.errors import ConfigError

_NO_WRAP: Final = 1 << 30
_DEEPEST: Final = 8
"""The maximum number of spaces between two levels."""
_KEYS: Final[Mapping[object, str]] = {True: "true", False: "false", None: "null"}
_Lines = list[str]


@dataclass(frozen=True)
class _Hunk:
    """Lines of a document that are replaced."""

    start: int
    end: int
    added: _Lines


def edited_texts(text: str, edit: Callable[[CommentedSeq], None], entry: int = -1) -> Iterator[str]:
    """Yield a document after an edit: first with the fewest changed lines, then as ruamel.yaml writes it.

    The first one may be wrong where the YAML is unusual: check its content.

    Args:
        text: A document with a list, with any line ends.
        edit: Changes the list of ruamel.yaml in place.
        entry: The index of the entry whose indentation added lines get.

    Raises:
        ConfigError: ruamel.yaml cannot read the document.
    """
    plain, newline = text.replace("\r\n", "\n"), "\r\n" if "\r\n" in text else "\n"
    yaml_format = YAML()
    yaml_format.preserve_quotes = True
    yaml_format.width = _NO_WRAP
    try:
        document = yaml_format.load(plain)
        yaml_format.indent(**_indentation(document, entry))
        base = _written(yaml_format, document)
        edit(document)
        edited = _written(yaml_format, document)
    except (YAMLError, *NOT_YAML) as error:
        raise ConfigError(f"the YAML is too unusual to be edited here ({type(error).__name__}); edit the file") from error
    yield _merge(text.split("\n"), base.split("\n"), edited.split("\n"), newline.removesuffix("\n"))
    yield edited.replace("\n", newline)


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


def _indentation(document: Any, entry: int) -> dict[str, int]:
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


def _written(yaml_format: YAML, document: CommentedSeq) -> str:
    written = StringIO()
    yaml_format.dump(document, written)
    return written.getvalue().replace(": [ [", ": [[")  # as ruamel.yaml writes it in an indented list


def _merge(original: _Lines, base: _Lines, edited: _Lines, ending: str) -> str:
    """Return the original lines with the changes between `base` and `edited`.

    Args:
        original: The lines of the file.
        base: The lines of the same content, as ruamel.yaml writes it.
        edited: The lines of the edited content, as ruamel.yaml writes it.
        ending: The end of each line that is added.
    """
    result: _Lines = []
    at = 0
    for hunk in _hunks(original, base, edited):
        tidy = _tidied(original, hunk)
        result += original[at : max(at, tidy.start)]
        result += [f"{line}{ending}" for line in tidy.added]
        at = max(at, tidy.end)
    return "\n".join([*result, *original[at:]])


def _hunks(original: _Lines, base: _Lines, edited: _Lines) -> Iterator[_Hunk]:
    """Yield what changes between the lines that all three have in common."""
    in_original = _spans([_bare(line) for line in base], [_bare(line) for line in original])
    in_edited = _matches(base, edited)
    at_base = at_original = at_edited = 0
    for line in [*sorted(in_original.keys() & in_edited.keys()), len(base)]:
        span, to_edited = in_original.get(line, slice(len(original), None)), in_edited.get(line, len(edited))
        before, after = base[at_base:line], edited[at_edited:to_edited]
        if before != after:
            yield _Hunk(at_original, span.start if before else at_original, after)
        at_base, at_original, at_edited = line + 1, span.stop, to_edited + 1


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


def _tidied(original: _Lines, hunk: _Hunk) -> _Hunk:
    """Return a hunk with the comments and blank lines around it where they belong."""
    if hunk.start == hunk.end:
        return _insertion(original, hunk)
    texts = [number for number in range(hunk.start, hunk.end) if not _is_note(original[number])]
    if not texts:  # ruamel.yaml has moved a comment
        return _Hunk(hunk.end, hunk.end, [] if hunk.added and all(map(_is_note, hunk.added)) else hunk.added)
    return _replacement(original, hunk, texts[0], texts[-1] + 1) if hunk.added else _removal(original, texts[0], texts[-1] + 1)


def _insertion(original: _Lines, hunk: _Hunk) -> _Hunk:
    """Return keys before the comments of what follows their mapping, and an entry after a blank line where others have one."""
    start, indent = hunk.start, _indent(hunk.added[0])
    while start and _is_note(original[start - 1]) and _indent(original[start - 1]) < indent:
        start -= 1
    start = _after_deeper_notes(original, start, indent)
    needs_blank = hunk.added[0].lstrip().startswith("-") and _entries_are_apart(original, indent)
    needs_blank = needs_blank and start > 0 and bool(_bare(original[start - 1]))
    return _Hunk(start, start, ["", *hunk.added] if needs_blank else hunk.added)


def _entries_are_apart(original: _Lines, indent: int) -> bool:
    """Return whether a blank line is between the first two entries of a list with this indentation."""
    dashes = [number for number, line in enumerate(original) if line.lstrip().startswith("-") and _indent(line) == indent]
    first, second = (*dashes, 0, 0)[:2]
    return any(not _bare(line) for line in original[first:second])


def _removal(original: _Lines, start: int, end: int) -> _Hunk:
    """Return the removal of lines with the comment directly above them, deeper comments below, and one of two blank lines."""
    indent, top = _indent(original[start]), start
    while top and original[top - 1].lstrip().startswith("#") and _indent(original[top - 1]) == indent:
        top -= 1
    start = top or start  # the first comment is the head of the file
    end = _after_deeper_notes(original, end, indent)
    if start and end < len(original) and not _bare(original[start - 1]) and not _bare(original[end]):
        end += 1
    return _Hunk(start, end, [])


def _after_deeper_notes(original: _Lines, at: int, indent: int) -> int:
    """Return the end of the comments below a line that belong to it: they have a larger indentation."""
    end = at
    while at < len(original) and _is_note(original[at]):
        at += 1
        if _indent(original[at - 1]) > indent:
            end = at
    return end


def _replacement(original: _Lines, hunk: _Hunk, start: int, end: int) -> _Hunk:
    """Return the replacement of lines without the comments around them, except where ruamel.yaml has kept those."""
    known = {_bare(line) for line in hunk.added if _is_note(line)}
    above = [line for line in original[hunk.start : start] if _bare(line) not in known]
    below = [line for line in original[end : hunk.end] if _bare(line) not in known]
    return _Hunk(hunk.start, hunk.end, [*above, *hunk.added, *below])


def _is_note(line: str) -> bool:
    return not line.strip() or line.lstrip().startswith("#")


def _indent(line: str) -> int:
    """Return the number of spaces before the text of a line; -1 for a blank line."""
    return len(line) - len(line.lstrip()) if line.strip() else -1


def _bare(line: str) -> str:
    return "".join(line.split())
