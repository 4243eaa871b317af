"""Find the image of each label by its name and folders."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote

from maskstream.annotations.labelled_images import Problem, ProblemKind
from maskstream.annotations.raw_labels import Hint, Record
from maskstream.io.files import one_line

_PARALLEL: Final = {"images", "labels", "annotations", "jpegimages", "xmls"}  # images/train beside labels/train
_NAMED_AT_MOST: Final = 3
_UPLOAD: Final = re.compile(r"^[0-9a-f]{8}-")

Rank = tuple[int, bool, int]
"""Rank of a match, the smallest is the best: level of similarity, other folder, negative number of common folders."""


@dataclass(frozen=True)
class _Found:
    images: frozenset[str]
    rank: Rank


@dataclass(frozen=True)
class Matching:
    """The labels of each image."""

    records: dict[str, Record]
    """By image name, if exactly one image fits the label."""
    doubtful: frozenset[str]
    """Images that fit an ambiguous label: they count neither as labelled nor as unlabelled."""
    problems: tuple[Problem, ...]


def match_images(records: Iterable[Record], images: list[str], folder: Path, labels: Path) -> Matching:
    """Find the image of each record.

    Args:
        records: Labels in order: of two that fit the same image equally well, the first one counts.
        images: Paths relative to `folder`, with forward slashes.
        folder: Folder of the images.
        labels: Folder of the labels.
    """
    index = _Index(images, folder, labels)
    claims: defaultdict[str, list[tuple[Rank, Record]]] = defaultdict(list)
    doubtful: set[str] = set()
    problems: list[Problem] = []
    for record in records:
        found = index.find(record.hints)
        if found is not None and len(found.images) == 1:
            claims[next(iter(found.images))].append((found.rank, record))
            continue
        if found is not None:
            doubtful |= found.images
        if not record.stray:
            problems.append(_without_image(record, found))
    taken = {}
    for image, claim in claims.items():
        (_, taken[image]), *others = sorted(claim, key=lambda ranked: ranked[0])
        detail = f"second label of image {one_line(image)}, after {one_line(taken[image].where)}; left out"
        problems += [Problem(ProblemKind.DUPLICATE, one_line(record.where), detail) for _, record in others if not record.stray]
    return Matching(taken, frozenset(doubtful - taken.keys()), tuple(problems))


def _without_image(record: Record, found: _Found | None) -> Problem:
    where = one_line(record.where)
    if record.broken is not None:
        return Problem(ProblemKind.BROKEN_LABEL, where, f"{record.broken}; its image is not known")
    if found is None:
        names = " or ".join(dict.fromkeys(repr(hint.name) for hint in record.hints)) or "any name"
        return Problem(ProblemKind.LABEL_WITHOUT_IMAGE, where, f"no image has the name {names}; left out")
    some = ", ".join(map(one_line, sorted(found.images)[:_NAMED_AT_MOST]))
    return Problem(ProblemKind.LABEL_WITHOUT_IMAGE, where, f"ambiguous: {len(found.images)} images fit ({some}); left out")


@dataclass
class _Level:
    """One level of similarity: the key of a hint, and the images by the same key."""

    of_hint: Callable[[Hint], str]
    of_image: Callable[[PurePosixPath], tuple[str, ...]]
    images: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


class _Index:
    def __init__(self, images: list[str], folder: Path, labels: Path) -> None:
        self._folder, self._labels = _folders(folder.absolute().parts), _folders(labels.absolute().parts)
        self._levels = [
            _Level(lambda hint: f"{hint.is_stem:d}{hint.name}", lambda path: (f"0{path.name}", f"1{path.stem}")),
            _Level(_any_suffix, lambda path: tuple({path.stem, path.name})),  # b.jpg for b.png, b.jpg for b.jpg.txt
            _Level(
                lambda hint: _normalised(_any_suffix(hint)), lambda path: tuple({_normalised(path.stem), _normalised(path.name)})
            ),
            _Level(lambda hint: _decoded(_any_suffix(hint)), lambda path: tuple({_decoded(path.stem), _decoded(path.name)})),
            _Level(lambda hint: _uploaded(_any_suffix(hint)), lambda path: tuple({_uploaded(path.stem), _uploaded(path.name)})),
        ]
        for image in images:
            for level in self._levels:
                for key in level.of_image(PurePosixPath(image)):
                    level.images[key].append(image)

    def find(self, hints: tuple[Hint, ...]) -> _Found | None:
        """Return the most similar images of the first hint that fits any image; later hints decide between several images."""
        for similarity, level in enumerate(self._levels):
            found: _Found | None = None
            for hint in hints:
                nearest = self._nearest(hint, level.images.get(level.of_hint(hint), []), similarity)
                if found is None:
                    found = nearest
                elif len(found.images) > 1 and nearest is not None and found.images & nearest.images:
                    found = _Found(found.images & nearest.images, found.rank)
            if found is not None:
                return found
        return None

    def _nearest(self, hint: Hint, images: list[str], similarity: int) -> _Found | None:
        if not images:
            return None
        hinted = _folders(hint.folders)
        ranked: list[tuple[Rank, str]] = []
        for image in images:
            actual = _folders(PurePosixPath(image).parts[:-1])
            pairs = zip(reversed(self._labels + hinted), reversed(self._folder + actual), strict=False)
            ranked.append(((similarity, hinted != actual, -_count_while_equal(pairs)), image))
        best = min(ranked)[0]
        return _Found(frozenset(image for rank, image in ranked if rank == best), best)


def _folders(parts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(part for part in parts if part.casefold() not in _PARALLEL)


def _any_suffix(hint: Hint) -> str:
    return hint.name if hint.is_stem else PurePosixPath(hint.name).stem


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _decoded(name: str) -> str:
    """Return a name with the escapes of URLs decoded, such as `%20`."""
    return _normalised(unquote(name))


def _uploaded(name: str) -> str:
    """Return a name without the changes of Label Studio: eight hexadecimal digits before it, underscores for spaces."""
    return _UPLOAD.sub("", _decoded(name)).replace(" ", "_")


def _count_while_equal(pairs: Iterable[tuple[str, str]]) -> int:
    count = 0
    for left, right in pairs:
        if left != right:
            break
        count += 1
    return count
