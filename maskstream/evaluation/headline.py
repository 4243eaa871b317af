"""The result in plain words, for people who know no statistics: the first screen of the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from maskstream.evaluation.metrics import iou_key

Metrics = Mapping[str, Any]
_FEW_FACES: Final = 200
_WORTH_A_WORD: Final = 0.005  # by which the paper's accuracy exceeds ours
_LARGEST_SCALES: Final = (100, 1_000, 10_000)
_KNOWN: Final = ("mask", "no_mask", "incorrect")
_CLASS_WORDS: Final = {
    "mask": "with a mask",
    "no_mask": "without a mask",
    "incorrect": "worn incorrectly",
    "unknown": "of unknown class",
}


@dataclass(frozen=True)
class Part:
    """One outcome of labelled faces."""

    key: str
    text: str
    faces: int
    share: float
    """Of `Headline.scale`, to a tenth; the shares of all parts add up to it."""


@dataclass(frozen=True)
class Tile:
    """One number to remember."""

    title: str
    number: str
    counts: str
    meaning: str


@dataclass(frozen=True)
class Headline:
    """All that the first screen says."""

    sentence: str
    interval: str
    """Empty where there is none."""
    scale: int
    """100, the number of faces where there are fewer, or more where 100 would hide the mistakes."""
    parts: tuple[Part, ...]
    tiles: tuple[Tile, ...]
    measured: str
    warnings: tuple[str, ...]


def headline(metrics: Metrics) -> Headline:
    """Put metrics, as docs/evaluation.md describes them, into words."""
    figures = at_reference(metrics)
    parts, scale = _parts(figures)
    return Headline(
        sentence=_sentence(parts, scale, figures),
        interval=_interval(parts, scale, figures),
        scale=scale,
        parts=parts,
        tiles=tuple(_tiles(figures)),
        measured=_measured(metrics),
        warnings=tuple(_warnings(metrics)),
    )


def at_reference(metrics: Metrics) -> Metrics:
    """Return the one-to-one figures at the reference IoU."""
    figures: Metrics = metrics["one_to_one"][iou_key(metrics["settings"]["iou"])]
    return figures


def shares_of(counts: Sequence[int], scale: int) -> list[int]:
    """Return whole numbers that add up to the scale, as close to the counts' shares as can be (largest remainders)."""
    exact = [count * scale / sum(counts) for count in counts]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(counts)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: scale - sum(shares)]:
        shares[index] += 1
    return shares


def of(number: int, singular: str) -> str:
    """Return a count with its noun: `1 face`, `1,240 faces`."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"


def _parts(figures: Metrics) -> tuple[tuple[Part, ...], int]:
    """Return what became of the faces of known class, or of all where no class is known, and the scale of the shares."""
    confusion = figures["confusion"]
    if figures["known_class"]:
        rows = {name: confusion[name] for name in _KNOWN}
        right = sum(row[name] for name, row in rows.items())
        counts = {
            ("right", "found and judged rightly"): right,
            ("wrong", "found, but judged wrongly"): sum(row[name] for row in rows.values() for name in _KNOWN) - right,
            ("unjudged", "found, but not judged"): sum(row["unknown"] for row in rows.values()),
            ("missed", "missed"): sum(row["missed"] for row in rows.values()),
        }
    else:
        missed = confusion["unknown"]["missed"]
        counts = {("right", "found"): figures["labelled"] - missed, ("missed", "missed"): missed}
    faces = list(counts.values())
    if not sum(faces):
        return (), 0
    scales = [sum(faces)] if sum(faces) < _LARGEST_SCALES[0] else _LARGEST_SCALES
    shows_mistakes = (scale for scale in scales if round(faces[0] * scale / sum(faces)) < scale or faces[0] == sum(faces))
    scale = next(shows_mistakes, scales[-1])
    shares = [tenths / 10 for tenths in shares_of(faces, 10 * scale)]
    return tuple(Part(*words, *numbers) for words, *numbers in zip(counts, faces, shares, strict=True)), scale


def _sentence(parts: Sequence[Part], scale: int, figures: Metrics) -> str:
    if not parts:
        return f"No face is labelled in {of(figures['pictures'], 'picture')}: there is nothing to measure."
    number = round(parts[0].share)
    return f"Of {of(scale, 'face')}, {number:,} {'was' if number == 1 else 'were'} {parts[0].text}."


def _interval(parts: Sequence[Part], scale: int, figures: Metrics) -> str:
    bounds = (figures["ci95"] or {}).get("end_to_end_accuracy" if figures["known_class"] else "found")
    if not parts or not bounds:
        return ""
    number = round(parts[0].share)
    low, high = min(round(bounds[0] * scale), number), max(round(bounds[1] * scale), number)
    return f"With other pictures of this kind: {low:,} to {high:,} of {scale:,}, in 19 of 20 cases."


def _tiles(figures: Metrics) -> Iterator[Tile]:
    confusion = figures["confusion"]
    others = [confusion["no_mask"], confusion["incorrect"]]
    counted = _KNOWN if figures["known_class"] else ("unknown",)
    yield _share_tile(
        "Bare faces taken for masked",
        sum(row["mask"] for row in others),
        (sum(sum(row.values()) for row in others), "bare face"),
        "What slips through: no mask, and no alarm.",
    )
    yield _share_tile(
        "Masked faces taken for bare",
        confusion["mask"]["no_mask"] + confusion["mask"]["incorrect"],
        (sum(confusion["mask"].values()), "masked face"),
        "False alarms: a mask is worn as it should be.",
    )
    yield _share_tile(
        "Missed faces",
        sum(confusion[name]["missed"] for name in counted),
        (sum(sum(confusion[name].values()) for name in counted), "face"),
        "Not found at all, so nothing is said of them.",
    )
    rate, false = figures["false_per_image"], figures["false_faces"]
    number = "–" if rate is None else f"{100 * rate:.0f}" if rate >= 1 else f"{100 * rate:.1f}"
    counts = f"{false:,} in {of(figures['pictures'], 'picture')}"
    yield Tile("False faces per 100 pictures", number, counts, "Something was taken for a face where none is labelled.")


def _share_tile(title: str, count: int, whole: tuple[int, str], meaning: str) -> Tile:
    faces, noun = whole
    if not faces:
        return Tile(title, "–", f"no {noun} is labelled", meaning)
    return Tile(title, f"{count / faces:.1%}", f"{count:,} of {of(faces, noun)}", meaning)


def _measured(metrics: Metrics) -> str:
    data, system, settings = metrics["data"], metrics["system"], metrics["settings"]
    classes = ", ".join(f"{count:,} {_CLASS_WORDS.get(name, name)}" for name, count in data["by_class"].items() if count)
    faces = of(data["faces"], "labelled face") + (f" ({classes})" if classes else "")
    when = datetime.fromisoformat(metrics["created_utc"])
    return (
        f"Measured on {of(data['pictures'], 'picture')} with {faces} on {when.day} {when:%B %Y} "
        f"with {system['name']} ({system['description']}). "
        f"A face counts as found where the found and the labelled box overlap by at least {settings['iou']:.0%} (IoU)."
    )


def _warnings(metrics: Metrics) -> Iterator[str]:
    figures, confusion = at_reference(metrics), at_reference(metrics)["confusion"]
    if 0 < figures["labelled"] < _FEW_FACES:
        verb = "is" if figures["labelled"] == 1 else "are"
        yield f"Only {of(figures['labelled'], 'face')} {verb} labelled: with other pictures the result may be quite different."
    if figures["known_class"]:
        for present, kind in (
            (sum(confusion["mask"].values()), "masked"),
            (sum(confusion["no_mask"].values()) + sum(confusion["incorrect"].values()), "bare"),
        ):
            if not present:
                yield f"No {kind} face is labelled: how well {kind} faces are judged was not measured."
    yield from _paper_warning(metrics)
    unknown = sum(confusion["unknown"].values())
    if unknown and figures["known_class"]:
        verb = "is" if unknown == 1 else "are"
        yield f"{of(unknown, 'more face')} {verb} labelled without saying whether masked or bare, and not in the numbers above."
    if problems := sum(metrics["data"]["problems"].values()):
        yield f"{of(problems, 'problem')} in the labels or pictures; see Data below."
    if figures["labelled"] and not _interval(*_parts(figures), figures):
        yield "No interval was computed: how much of this is chance cannot be said."


def _paper_warning(metrics: Metrics) -> Iterator[str]:
    figures, paper = at_reference(metrics), metrics["paper"][iou_key(metrics["settings"]["iou"])]
    ours, theirs = figures["end_to_end_accuracy"], paper["accuracy"]
    if ours is not None and theirs is not None and theirs - ours >= _WORTH_A_WORD:
        yield (
            f"The paper's way of counting would say {theirs:.1%} where we say {ours:.1%}: it looks only at faces that were found "
            "and judged, so missed faces cost it nothing, and a face found twice counts twice."
        )
