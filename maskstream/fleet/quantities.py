"""Durations, sizes and counts as text."""


def duration(seconds: float) -> str:
    """Return a duration in two units: `5.9 s`, `12 min 3 s`, `3 h 12 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    return f"{round(seconds / 60) // 60:,} h {round(seconds / 60) % 60} min"


def size(count: int) -> str:
    """Return a number of bytes: `2.3 MB`."""
    unit, factor = next((each for each in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)) if count >= each[1]), ("kB", 1e3))
    return f"{count / factor:,.1f} {unit}"


def plural(number: int, singular: str) -> str:
    """Return a count with its noun: `1 file`, `1,240 files`."""
    return f"{number:,} {singular}{'' if number == 1 else 's'}"
