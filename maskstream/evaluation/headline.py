"""Describe the result in plain words for readers who know no statistics: the first screen of the report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from maskstream.evaluation.metrics_json import FaceMetrics, Metrics, iou_key

_FEW_FACES: Final = 200
_LEAST_DIFFERENCE: Final = 0.005
"""The paper's accuracy is mentioned if it is higher than ours by at least this."""
_LARGEST_SCALES: Final = (100, 1_000, 10_000)
_KNOWN: Final = ("mask", "no_mask", "incorrect")
_CLASS_TEXT: Final = {
    "mask": "with a mask",
    "no_mask": "without a mask",
    "incorrect": "with a mask worn incorrectly",
    "unknown": "of unknown class",
}


@dataclass(frozen=True)
class Part:
    """Labelled faces with the same outcome."""

    key: str
    text: str
    faces: int
    share: float
    """Part of `Headline.scale`, with one decimal; the shares of all parts add up to the scale."""


@dataclass(frozen=True)
class Tile:
    """One number of the first screen."""

    title: str
    number: str
    counts: str
    meaning: str


@dataclass(frozen=True)
class Headline:
    """The text of the first screen."""

    sentence: str
    interval: str
    """Empty if no interval was computed."""
    scale: int
    """100; the number of faces if there are fewer; 1,000 or 10,000 if 100 would round the errors to zero."""
    parts: tuple[Part, ...]
    tiles: tuple[Tile, ...]
    measured: str
    warnings: tuple[str, ...]


def headline(metrics: Metrics) -> Headline:
    """Describe metrics in words."""
    reference = metrics.reference
    parts, scale = _parts(reference)
    if parts:
        number = round(parts[0].share)
        sentence = f"Of {of(scale, 'face')}, {number:,} {'was' if number == 1 else 'were'} {parts[0].text}."
    else:
        sentence = f"No face is labelled in {of(reference.pictures, 'image')}, so nothing was measured."
    return Headline(
        sentence=sentence,
        interval=_interval(parts, scale, reference),
        scale=scale,
        parts=parts,
        tiles=tuple(_tiles(reference)),
        measured=_measured(metrics),
        warnings=tuple(_warnings(metrics)),
    )


def shares_of(counts: Sequence[int], scale: int) -> list[int]:
    """Return integers in proportion to the counts that add up to the scale (largest remainders)."""
    exact = [count * scale / sum(counts) for count in counts]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(counts)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: scale - sum(shares)]:
        shares[index] += 1
    return shares


def of(number: int, singular: str) -> str:
    """Return a count with its noun: `1 face`, `1,240 faces`."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def _parts(reference: FaceMetrics) -> tuple[tuple[Part, ...], int]:
    """Return the outcomes of the faces of known class, and the scale of the shares; of all faces if no class is known."""
    if reference.known_class:
        outcomes = _outcomes_of_known(reference)
    else:
        missed = reference.confusion["unknown"]["missed"]
        outcomes = [("right", "found", reference.labelled - missed), ("missed", "missed", missed)]
    faces = [count for _, _, count in outcomes]
    if not sum(faces):
        return (), 0
    scale = _scale(faces[0], sum(faces))
    tenths = shares_of(faces, 10 * scale)
    return tuple(Part(key, text, count, share / 10) for (key, text, count), share in zip(outcomes, tenths, strict=True)), scale


def _outcomes_of_known(reference: FaceMetrics) -> list[tuple[str, str, int]]:
    rows = {name: reference.confusion[name] for name in _KNOWN}
    right = sum(row[name] for name, row in rows.items())
    classified = sum(row[name] for row in rows.values() for name in _KNOWN)
    return [
        ("right", "found with the right label", right),
        ("wrong", "found with a wrong label", classified - right),
        ("unknown", "found without a label", sum(row["unknown"] for row in rows.values())),
        ("missed", "missed", sum(row["missed"] for row in rows.values())),
    ]


def _scale(right: int, total: int) -> int:
    """Return the smallest scale on which the errors are not rounded to zero."""
    if total < _LARGEST_SCALES[0]:
        return total
    for scale in _LARGEST_SCALES:
        if right == total or round(right * scale / total) < scale:
            return scale
    return _LARGEST_SCALES[-1]


def _interval(parts: Sequence[Part], scale: int, reference: FaceMetrics) -> str:
    bounds = reference.ci95.get("end_to_end_accuracy" if reference.known_class else "found")
    if not parts or not bounds:
        return ""
    number = round(parts[0].share)
    low, high = min(round(bounds[0] * scale), number), max(round(bounds[1] * scale), number)
    return f"With other images of this kind: {low:,} to {high:,} of {scale:,}, in 19 of 20 cases."


def _tiles(reference: FaceMetrics) -> Iterator[Tile]:
    confusion = reference.confusion
    mask, others = confusion["mask"], (confusion["no_mask"], confusion["incorrect"])
    counted = [confusion[name] for name in (_KNOWN if reference.known_class else ("unknown",))]
    yield _share_tile(
        title="No mask classified as mask",
        count=sum(row["mask"] for row in others),
        faces=sum(sum(row.values()) for row in others),
        which=" without a mask",
        meaning="Missed alarms: these persons wear no mask.",
    )
    yield _share_tile(
        title="Mask classified as no mask",
        count=mask["no_mask"] + mask["incorrect"],
        faces=sum(mask.values()),
        which=" with a mask",
        meaning="False alarms: these persons wear a mask.",
    )
    yield _share_tile(
        title="Missed faces",
        count=sum(row["missed"] for row in counted),
        faces=sum(sum(row.values()) for row in counted),
        which="",
        meaning="The detector did not find these faces, so they have no label.",
    )
    yield _false_positive_tile(reference)


def _share_tile(title: str, count: int, faces: int, which: str, meaning: str) -> Tile:
    if not faces:
        return Tile(title, "–", f"no face{which} is labelled", meaning)
    return Tile(title, f"{count / faces:.1%}", f"{count:,} of {of(faces, 'face')}{which}", meaning)


def _false_positive_tile(reference: FaceMetrics) -> Tile:
    number = "–"
    if reference.false_per_image is not None:
        per_100 = 100 * reference.false_per_image
        number = f"{per_100:.0f}" if per_100 >= 100 else f"{per_100:.1f}"
    counts = f"per 100 images ({reference.false_faces:,} in {of(reference.pictures, 'image')})"
    return Tile("False positives", number, counts, "The detector found a face where no face is labelled.")


def _measured(metrics: Metrics) -> str:
    data, system = metrics.data, metrics.system
    classes = ", ".join(f"{count:,} {_CLASS_TEXT.get(name, name)}" for name, count in data.by_class.items() if count)
    faces = of(data.faces, "labelled face") + (f" ({classes})" if classes else "")
    when = datetime.fromisoformat(metrics.created_utc)
    return (
        f"Measured on {of(data.pictures, 'image')} with {faces} on {when.day} {when:%B %Y} "
        f"with {system.name} ({system.description}). "
        f"A face counts as found if the found and the labelled box overlap by at least {metrics.settings.iou:.0%} (IoU)."
    )


def _warnings(metrics: Metrics) -> Iterator[str]:
    reference = metrics.reference
    yield from _few_faces_warnings(reference)
    yield from _paper_warning(metrics)
    unknown = sum(reference.confusion["unknown"].values())
    if reference.known_class and unknown:
        verb = "is" if unknown == 1 else "are"
        yield f"{of(unknown, 'more face')} {verb} labelled without a class and not in the numbers above."
    if problems := sum(metrics.data.problems.values()):
        yield f"{of(problems, 'problem')} in the labels or images; see Data below."
    parts, scale = _parts(reference)
    if reference.labelled and not _interval(parts, scale, reference):
        yield "No interval was computed, so the influence of chance is not known."


def _few_faces_warnings(reference: FaceMetrics) -> Iterator[str]:
    faces = {name: sum(row.values()) for name, row in reference.confusion.items()}
    if 0 < reference.labelled < _FEW_FACES:
        verb = "is" if reference.labelled == 1 else "are"
        yield f"Only {of(reference.labelled, 'face')} {verb} labelled: other images may give a very different result."
    if reference.known_class and not faces["mask"]:
        yield "No face with a mask is labelled: the accuracy on such faces was not measured."
    if reference.known_class and not faces["no_mask"] + faces["incorrect"]:
        yield "No face without a mask is labelled: the accuracy on such faces was not measured."


def _paper_warning(metrics: Metrics) -> Iterator[str]:
    ours, theirs = metrics.reference.end_to_end_accuracy, metrics.paper[iou_key(metrics.settings.iou)].accuracy
    if ours is not None and theirs is not None and theirs - ours >= _LEAST_DIFFERENCE:
        yield (
            f"The paper's protocol gives {theirs:.1%} where this report gives {ours:.1%}: it counts only faces that were found "
            "and classified. A missed face does not lower its accuracy, and a face found twice counts twice."
        )
