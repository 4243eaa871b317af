"""Parse YAML strictly: a key must not occur twice, and the values of text keys are not converted.

YAML 1.1 reads `010` as 8, `on` and `no` as true and false, `1_000` as 1000, `12:30` as 750 and `2024-01-02` as a date. If a key
occurs twice, it uses the last value.
"""

from collections.abc import Collection, Iterator
from typing import Any, Final

import yaml

NOT_YAML: Final = (yaml.YAMLError, ValueError, AttributeError, KeyError, TypeError, RecursionError)
"""The exceptions of `parse_yaml`: those of PyYAML, of invalid dates, and of brackets that are nested too deep."""

_TEXT: Final = "tag:yaml.org,2002:str"
_NULL: Final = "tag:yaml.org,2002:null"
_MERGE: Final = "tag:yaml.org,2002:merge"


class GivenTwice(ValueError):
    """A mapping contains a key twice."""

    def __init__(self, key: str, line: int, first_line: int) -> None:
        """Create the message with the key and its lines, counted from 1."""
        where = f"line {line}: " if line > first_line else ""
        again = f" (first in line {first_line})" if line > first_line else ""
        super().__init__(f"{where}the key {key} is given twice{again}; in a list, is a - missing before it?")


def parse_yaml(text: str, as_typed: Collection[str] = (), key: str = "") -> Any:
    """Return the content of a YAML document. All keys become text.

    Args:
        text: One document.
        as_typed: Keys whose values are kept as text, also in a list or mapping; null stays null.
        key: The key that the complete text is the value of, if any.

    Raises:
        GivenTwice: A mapping contains a key twice.
        Exception: One of `NOT_YAML`: the text is not YAML.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        if key in as_typed:
            _keep_as_typed(root)
        for mapping in _mappings(root):
            _check_and_keep(mapping, as_typed)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def why_not_yaml(error: Exception) -> str:
    """Return the line number of an error and its reason. The line itself is left out: it may contain a password."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    """Yield each mapping once: a node with an anchor may occur in many places, even within itself."""
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


def _check_and_keep(mapping: yaml.MappingNode, as_typed: Collection[str]) -> None:
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
