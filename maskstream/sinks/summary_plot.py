"""Plot the people with and without a mask over time, one row per source, as PNG."""

import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from numpy.typing import NDArray

from maskstream.events.types import Timestamp
from maskstream.io.files import plain_text
from maskstream.rendering.palette import COLOURS_BGR, LABEL_TEXT
from maskstream.rendering.text import text_alpha
from maskstream.types import Label

_Values: TypeAlias = NDArray[np.float64]

_WIDTH_IN: Final = 9.0
_HEIGHT_IN: Final = 2.2
_MAX_SOURCES: Final = 24
_DPI: Final = 100
_TITLE_PT: Final = 10
_LONGEST_NAME: Final = 60
_WIDEST_TITLE_PX: Final = 640  # a wider title would leave no room for the axes
_CAPITAL_HEIGHT: Final = 0.73
"""Of a capital letter, as a fraction of the font size."""


class Timeline(Protocol):
    """The data of one source."""

    @property
    def began(self) -> Timestamp:
        """The first frame."""
        ...

    @property
    def last(self) -> Timestamp:
        """The last frame."""
        ...

    @property
    def step_s(self) -> float:
        """Seconds per step."""
        ...

    @property
    def steps(self) -> Sequence[Mapping[Label, float]]:
        """Seconds of all people per label, in each step."""
        ...


def plot_timelines(sources: Mapping[str, Timeline]) -> bytes:
    """Return a PNG with the number of people over time, stacked by label; at most the first 24 sources."""
    shown = dict(list(sources.items())[:_MAX_SOURCES])
    figure = Figure((_WIDTH_IN, _HEIGHT_IN * max(1, len(shown))), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(max(1, len(shown)), squeeze=False)[:, 0]
    for axes, (source_id, timeline) in zip(rows, shown.items(), strict=False):
        _plot_timeline(axes, source_id, timeline)
    if not shown:
        rows[0].set_title("no frames", loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _plot_timeline(axes: Axes, source_id: str, timeline: Timeline) -> None:
    """Plot the people as stacked areas, and as a line the percentage with a mask of those with a known label."""
    lasts_s = timeline.last.time_s - timeline.began.time_s
    edges = np.minimum(np.arange(len(timeline.steps) + 1) * timeline.step_s, lasts_s)
    step_s = np.maximum(np.diff(edges), 1e-6)  # the last step may be almost empty
    people = {label: np.array([step[label] for step in timeline.steps]) / step_s for label in Label}
    most_people = _plot_people(axes, edges, people)
    known = np.sum([people[label] for label in Label if label is not Label.UNKNOWN], axis=0)
    mask_fraction = np.divide(people[Label.MASK], known, out=np.full_like(known, np.nan), where=known > 0)
    percent_axes = axes.twinx()
    percent_axes.stairs(mask_fraction * 100, edges, baseline=None, color="black", label="% with mask")
    percent_axes.set_ylim(0, 105)
    percent_axes.set_ylabel("% with mask")
    name, wall_time = plain_text(source_id), timeline.began.wall_time
    if len(name) > _LONGEST_NAME:
        name = f"...{name[3 - _LONGEST_NAME :]}"
    _write_title(axes, name if wall_time is None else f"{name}, from {wall_time:%Y-%m-%d %H:%M:%S} UTC")
    axes.set_xlim(0, max(lasts_s, 1e-3))
    axes.set_ylim(0, max(1.0, most_people) * 1.05)
    axes.set_ylabel("people")
    axes.xaxis.set_major_formatter(lambda seconds, _position: str(timedelta(seconds=round(seconds))))
    handles = [*axes.get_legend_handles_labels()[0], *percent_axes.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.08, 1.0), fontsize=8, frameon=False)


def _plot_people(axes: Axes, edges: _Values, people: Mapping[Label, _Values]) -> float:
    """Plot people as stacked areas, and return the largest number of people."""
    below = np.zeros(len(edges) - 1)
    for label, count in people.items():
        if count.any():
            blue, green, red = COLOURS_BGR[label]
            colour = (red / 255, green / 255, blue / 255)
            axes.stairs(below + count, edges, baseline=below, fill=True, color=colour, label=LABEL_TEXT[label])
            below += count
    return float(below.max(initial=0.0))


def _write_title(axes: Axes, title: str) -> None:
    """Write a title; one beyond ASCII as an image, because the font of matplotlib has few characters and it warns."""
    if title.isascii() and title.isprintable():
        axes.set_title(title.replace("$", r"\$"), loc="left", fontsize=_TITLE_PT)
        return
    alpha = text_alpha(title, _TITLE_PT * _CAPITAL_HEIGHT * _DPI / 72)[:, :_WIDEST_TITLE_PX]
    ink = np.zeros((*alpha.shape, 4), np.uint8)
    ink[..., 3] = alpha
    image = OffsetImage(ink, dpi_cor=False, interpolation="none")
    axes.add_artist(AnnotationBbox(image, (0, 1), xycoords="axes fraction", box_alignment=(0, 0), frameon=False, pad=0))
