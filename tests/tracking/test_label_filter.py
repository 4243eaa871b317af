import pytest

from maskstream.tracking.label_filter import SteadyLabel, SteadyRules
from maskstream.types import Label

BOTH = (Label.MASK, Label.NO_MASK)
RULES = SteadyRules(memory_s=2.0, to_change=2.0)


def looks(steady: SteadyLabel, label: Label, *, until_s: float, since_s: float = 0.0, fps: float = 10.0, **look: float) -> None:
    steps = round((until_s - since_s) * fps)
    for step in range(1, steps + 1):
        steady.update(since_s + step / fps, label, look.get("confidence", 0.97), look.get("weight", 1.0))


def changed_after(fps: float, confidence: float = 0.97, weight: float = 1.0) -> float:
    """Seconds until somebody who wore a mask for three seconds is said to wear none."""
    steady = SteadyLabel(RULES, BOTH)
    looks(steady, Label.MASK, until_s=3.0, fps=fps)
    for step in range(1, 1000):
        steady.update(3.0 + step / fps, Label.NO_MASK, confidence, weight)
        if steady.label is Label.NO_MASK:
            return step / fps
    raise AssertionError("never")


@pytest.mark.parametrize("broken", ["time_s", "confidence", "weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_look_that_is_no_number_says_nothing(broken: str, value: float) -> None:
    """It would stay in the evidence for as long as the person is there."""
    steady, plain = SteadyLabel(RULES, BOTH), SteadyLabel(RULES, BOTH)
    for each in (steady, plain):
        looks(each, Label.MASK, until_s=1.0)
    look = {"time_s": 1.05, "confidence": 0.9, "weight": 1.0, broken: value}
    steady.update(look["time_s"], Label.NO_MASK, look["confidence"], look["weight"])
    for each in (steady, plain):
        looks(each, Label.NO_MASK, since_s=1.0, until_s=3.0)
    assert (steady.label, steady.confidence) == (plain.label, plain.confidence)
    assert steady.label is Label.NO_MASK


def test_it_is_unknown_without_evidence() -> None:
    steady = SteadyLabel(RULES, BOTH)
    assert (steady.label, steady.confidence) == (Label.UNKNOWN, None)
    steady.update(0.0, Label.MASK, 0.6, 0.5)
    assert (steady.label, steady.confidence) == (Label.UNKNOWN, None)


def test_one_sure_look_is_enough_to_begin_with() -> None:
    steady = SteadyLabel(RULES, BOTH)
    steady.update(0.0, Label.NO_MASK, 0.98, 1.0)
    assert steady.label is Label.NO_MASK
    assert steady.confidence is not None
    assert steady.confidence > 0.88


def test_doubtful_looks_do_not_make_it_flicker() -> None:
    steady = SteadyLabel(RULES, BOTH)
    looks(steady, Label.MASK, until_s=1.0)
    labels = set()
    for step in range(40):
        steady.update(1.1 + step / 10, (Label.NO_MASK, Label.MASK)[step % 2], 0.7, 0.4)
        labels.add(steady.label)
    assert labels == {Label.MASK}


def test_what_is_seen_for_long_enough_changes_it() -> None:
    assert changed_after(fps=10, confidence=0.8, weight=0.5) < 2.0


def test_small_and_blurred_faces_change_it_later() -> None:
    assert changed_after(fps=10, weight=0.2) > 2 * changed_after(fps=10, weight=1.0)


@pytest.mark.parametrize("confidence", [0.8, 0.97])
def test_the_frame_rate_makes_no_difference(confidence: float) -> None:
    times = [changed_after(fps, confidence, weight=0.4) for fps in (10, 25, 50)]
    assert max(times) - min(times) <= 0.35
    assert max(times) <= 1.8 * min(times)


def test_evidence_fades_but_the_label_stays() -> None:
    steady = SteadyLabel(RULES, BOTH)
    looks(steady, Label.MASK, until_s=2.0)
    sure = steady.confidence
    steady.update(60.0, Label.MASK, 0.5, 1.0)
    assert steady.label is Label.MASK
    assert sure is not None
    assert steady.confidence is not None
    assert steady.confidence < 0.6 < sure


def test_three_labels_compete() -> None:
    steady = SteadyLabel(RULES, (*BOTH, Label.INCORRECT))
    looks(steady, Label.INCORRECT, until_s=1.0)
    assert steady.label is Label.INCORRECT
    looks(steady, Label.MASK, since_s=1.0, until_s=2.0)
    assert steady.label is Label.MASK


def test_times_that_stand_still_add_nothing() -> None:
    steady = SteadyLabel(RULES, BOTH)
    looks(steady, Label.MASK, until_s=1.0)
    before = steady.confidence
    for _ in range(1000):
        steady.update(1.0, Label.NO_MASK, 0.98, 1.0)
    assert (steady.label, steady.confidence) == (Label.MASK, before)
