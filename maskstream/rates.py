"""How often something happens."""

from collections.abc import Sequence


def per_second(at_s: Sequence[float], now_s: float) -> float:
    """Return the rate of what happened at these times, in order; it falls once the next time is overdue, 0 before the second."""
    intervals = len(at_s) - 1
    if intervals < 1:
        return 0.0
    span_s = at_s[-1] - at_s[0]
    overdue_s = max(0.0, now_s - at_s[-1] - span_s / intervals)
    return intervals / max(span_s + overdue_s, 1e-3)
