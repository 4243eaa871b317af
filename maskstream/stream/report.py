"""Count what a run did."""

from dataclasses import dataclass, field


@dataclass
class RunReport:
    """The metrics of a run."""

    frames: int = 0
    """Frames that reached the sinks, analysed or not."""
    analysed: int = 0
    faces: int = 0
    dropped: int = 0
    unusable: int = 0
    """Detections and classifications with numbers that are not finite."""
    elapsed_s: float = 0.0
    model_s: float = 0.0
    """Time that the inference thread spent in the analyzer."""
    waited_s: dict[str, float] = field(default_factory=dict)
    """Time that threads waited: `capture` (the sum of all sources) for room in a channel, `inference` for frames and room,
    `rendering` for results."""
    threads_left: int = 0
    """Threads that did not end in time. The process should then exit without waiting for them."""
