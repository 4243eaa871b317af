"""What the tests of properties have in common: how many examples, and numbers that a faulty network may give."""

from typing import Final

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

ODD: Final = (float("nan"), float("inf"), float("-inf"), 3.4e38, -3.4e38, 1e20, 1e-45, 0.0, -0.0)
"""Numbers of 32 bits that calculations stumble over."""


def examples(share: float) -> settings:
    """Return settings with so many times the examples of the profile that runs."""
    return settings(max_examples=max(1, round(settings.default.max_examples * share)))


def any_number(ordinary: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    """Return ordinary numbers, and now and then one that is none."""
    return st.one_of(ordinary, ordinary, ordinary, st.sampled_from(ODD), st.floats(width=32))


def broken(ordinary: st.SearchStrategy[float]) -> st.SearchStrategy[float]:
    """Return ordinary numbers, and now and then NaN or infinity."""
    return st.one_of(ordinary, ordinary, ordinary, st.sampled_from(ODD[:3]))


def floats32(values: object) -> np.ndarray:
    """Return values as a network gives them."""
    return np.array(values, np.float32)
