"""YAML as people type it: no key twice, and names stay what was typed.

YAML 1.1 reads `010` as 8, `on` and `no` as true and false, `1_000` as 1000, `12:30` as 750 and `2024-01-02` as a date, and of a
key that is given twice it takes the last.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import yaml

NOT_YAML: Final = (yaml.YAMLError, ValueError, AttributeError, KeyError, TypeError, RecursionError)
"""What `parse_yaml` raises: PyYAML's own, those for what looks like a date and is none, and for brackets without end."""

_TEXT: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"


class GivenTwice(ValueError):
    """A key stands twice in one mapping."""

    def __init__(self, key: str, line: int, first_line: int) -> None:
        """Name the key, and the lines where it stands, counted from 1."""
        where = f"line {line}: " if line > first_line else ""
        again = f" (first in line {first_line})" if line > first_line else ""
        super().__init__(f"{where}the key {key} is given twice{again}; in a list, is a - missing before it?")


def parse_yaml(text: str, as_typed: Collection[str] = (), key: str = "") -> Any:
    """Return what a text in YAML says. Keys are texts.

    Args:
        text: One document.
        as_typed: Keys whose values, and what stands in a list or mapping there, are text as it was typed; null stays null.
        key: That of which the whole text is the value, if it is of one.

    Raises:
        GivenTwice: A key stands twice in one mapping.
        Exception: One of `NOT_YAML`: it is not YAML.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if key in as_typed:
            _keep_as_typed(root)
        for mapping in _mappings(root):
            _treat(mapping, as_typed)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def why_not_yaml(error: Exception) -> str:
    """Return what is wrong with a text, and in which line: not the line itself, in which a password may stand."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield each mapping once: a node that has an anchor may stand in many places, even within itself."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen or isinstance(node, yaml.ScalarNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            yield node
            waiting += [part for pair in node.value for part in pair]
        else:
            waiting += node.value


def _treat(mapping: yaml.MappingNode, as_typed: Collection[str]) -> None:
    lines: dict[str, int] = {}
    for key, value in mapping.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
            continue
        key.tag = _TEXT
        line = key.start_mark.line + 1
        if key.value in lines:
            raise GivenTwice(key.value, line, lines[key.value])
        lines[key.value] = line
        if key.value in as_typed:
            _keep_as_typed(value)


def _keep_as_typed(value: yaml.Node) -> None:
    inner = value.value if not isinstance(value, yaml.ScalarNode) else [value]
    for each in inner:
        node = each[1] if isinstance(each, tuple) else each
        if isinstance(node, yaml.ScalarNode) and node.tag != _NULL:
            node.tag = _TEXT
