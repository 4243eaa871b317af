"""Ways to damage a file: as a disk, a cable or a tired colleague does it."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any, Final

ODD_VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 0.5, -0.0, 2**31, 2**63, 2**64, 10**400, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), "", " ", "nan", "1e999", "0x10", "1_0", "010", "yes", "null", "\0", "\ud800"),
    *("x" * 10_000, "../../../etc/passwd", "a\nb", "é", "${HOME}", "%00", "１２", [], {}, [[]], [None], {"": None}),
)
ODD_WORDS: Final = (
    *("", "-1", "0", "1e999", "nan", ".nan", ".inf", "99999999999999999999", "010", "0x10", "null", "~", "[", "]", "{", "}", ":"),
    *(
        "- ",
        "&a",
        "*a",
        "!!python/object/apply:os.system [id]",
        "<<",
        '"',
        "'",
        "<",
        ">",
        "&lt;",
        "&x;",
        "\0",
        "\ufeff",
        "é",
        "#",
    ),
    *("x" * 5000, "[" * 2000, "{a: " * 2000, "<a>" * 2000, "1" * 6000),
)
_WORD: Final = re.compile(rb"[-+.\w]+")
_MOST_STEPS: Final = 8


def mutate(content: bytes, others: list[bytes], random: Random) -> bytes:
    """Return a damaged copy.

    Args:
        content: A whole file.
        others: Files of which a piece may find its way into this one.
        random: Decides everything.
    """
    ways: list[Callable[[bytes, Random], bytes]] = [*_OF_BYTES, lambda whole, dice: _spliced(whole, dice.choice(others), dice)]
    if _is_text(content):
        ways += [*_OF_TEXT, *_OF_TEXT]
    if (tree := _tree(content)) is not None and random.random() < 0.6:
        return _dumped(_changed(tree, random))
    for _ in range(random.choice((1, 1, 1, 2, 3, _MOST_STEPS))):
        content = random.choice(ways)(content, random)
    return content


def _is_text(content: bytes) -> bool:
    return b"\0" not in content[:1000] and all(byte < 0x80 for byte in content[:200])


def _tree(content: bytes) -> Any:
    """Return JSON; None where it is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _dumped(tree: Any) -> bytes:
    return json.dumps(tree).encode(errors="surrogatepass")


def _changed(tree: Any, random: Random) -> Any:
    """Return a copy with a value that is another, is missing, is there twice or has another name."""
    place = _some_place(tree, random)
    return _at(tree, place, lambda value: _odd(value, random)) if place else random.choice(ODD_VALUES)


def _some_place(tree: Any, random: Random) -> list[Any]:
    """Return keys and indices that lead to a node."""
    place: list[Any] = []
    while tree and isinstance(tree, dict | list) and (not place or random.random() < 0.85):
        key = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
        place.append(key)
        tree = tree[key]
    return place


def _at(tree: Any, place: list[Any], change: Callable[[Any], Any]) -> Any:
    if not place:
        return change(tree)
    key, *rest = place
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[key] = _at(tree[key], rest, change)
    return copy


def _odd(value: Any, random: Random) -> Any:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    kinds: list[Any] = [random.choice(ODD_VALUES), random.choice(ODD_VALUES), str(value), [value], {"a": value}, deep]
    if isinstance(value, list) and value:
        kinds += [value * 2, value[1:], value[::-1], [*value, random.choice(ODD_VALUES)], value[0]]
    if isinstance(value, dict) and value:
        key = random.choice(list(value))
        kinds += [{name: each for name, each in value.items() if name != key}, {**value, f"{key}s": value[key]}, list(value)]
    if isinstance(value, int | float) and abs(value) < 1e300:
        kinds += [-value, value * 1000, value + 0.5, value * 0, 10**30 * int(value or 1)]
    return random.choice(kinds)


def _flipped(content: bytes, random: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 3, 10, 100)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _overwritten(content: bytes, random: Random) -> bytes:
    """Put a number where there may be a size, a count or an offset; the first bytes of a file are full of them."""
    first = random.randrange(max(1, len(content) if random.random() < 0.5 else min(len(content), 200)))
    length = random.choice((1, 2, 4, 8))
    number = random.choice((0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))
    piece = (number % 256**length).to_bytes(length, random.choice(("big", "little")))
    return content[:first] + piece + content[first + length :]


def _cut_short(content: bytes, random: Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _without_a_piece(content: bytes, random: Random) -> bytes:
    first, last = _span(content, random)
    return content[:first] + content[last:]


def _with_a_piece_twice(content: bytes, random: Random) -> bytes:
    first, last = _span(content, random)
    return content[:last] + content[first:last] * random.choice((1, 1, 5)) + content[last:]


def _with_zeros(content: bytes, random: Random) -> bytes:
    first, last = _span(content, random)
    return content[:first] + bytes((random.choice((0, 0xFF)),)) * (last - first) + content[last:]


def _spliced(content: bytes, other: bytes, random: Random) -> bytes:
    first, last = _span(other, random)
    at = random.randrange(len(content) + 1)
    return content[:at] + other[first:last] + content[at + random.choice((0, last - first)) :]


def _span(content: bytes, random: Random) -> tuple[int, int]:
    first = random.randrange(len(content) + 1)
    return first, min(len(content), first + random.choice((1, 4, 16, 188, 1000, len(content))))


def _with_another_word(content: bytes, random: Random) -> bytes:
    words = list(_WORD.finditer(content))
    if not words:
        return content
    found = random.choice(words)
    piece = random.choice((random.choice(ODD_WORDS).encode(), random.choice(words)[0], b"-" + found[0]))
    return content[: found.start()] + piece + content[found.end() :]


def _with_other_lines(content: bytes, random: Random) -> bytes:
    lines = content.split(b"\n")
    first, second = random.randrange(len(lines)), random.randrange(len(lines))
    match random.randrange(4):
        case 0:
            lines[first], lines[second] = lines[second], lines[first]
        case 1:
            lines.insert(first, lines[second])
        case 2:
            del lines[first]
        case _:
            lines[first] = random.choice((b"  ", b"\t", b"- ", b"")) + lines[first].lstrip()
    return b"\n".join(lines)


def _in_another_encoding(content: bytes, random: Random) -> bytes:
    text = content.decode(errors="replace")
    return text.encode(random.choice(("utf-16", "utf-16-le", "utf-8-sig", "utf-32")), errors="replace")


_OF_BYTES: Final = (
    *(_flipped, _flipped, _flipped, _overwritten, _overwritten, _cut_short, _without_a_piece, _with_a_piece_twice, _with_zeros),
)
_OF_TEXT: Final = (_with_another_word, _with_another_word, _with_other_lines, _with_other_lines, _in_another_encoding)
