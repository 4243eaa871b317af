"""People with and without a mask over time, as a picture."""

import io
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage

from maskstream.events.types import Timestamp
from maskstream.io.files import plain_text
from maskstream.rendering.palette import COLOURS_BGR, LABEL_TEXT
from maskstream.rendering.text import text_alpha
from maskstream.types import Label

_WIDTH_IN: Final = 9.0
_HEIGHT_IN: Final = 2.2
_MOST_SOURCES: Final = 24
_DPI: Final = 100
_TITLE_PT: Final = 10
_LONGEST_NAME: Final = 60
_WIDEST_TITLE_PX: Final = 640  # of the axes; a wider title would leave no room for them
_CAPITAL_SHARE: Final = 0.73
"""Of the size of a font, the height of a capital."""


class Timeline(Protocol):
    """What is drawn of one source."""

    @property
    def began(self) -> Timestamp:
        """When its first frame was."""
        ...

    @property
    def last(self) -> Timestamp:
        """When its last frame was."""
        ...

    @property
    def step_s(self) -> float:
        """How long a step is."""
        ...

    @property
    def steps(self) -> Sequence[Mapping[Label, float]]:
        """Seconds of all people together, by label, in each step."""
        ...


def draw_timelines(sources: Mapping[str, Timeline]) -> bytes:
    """Return a PNG: for each source the people present over time, stacked by label; of very many sources the first ones."""
    shown = dict(list(sources.items())[:_MOST_SOURCES])
    figure = Figure((_WIDTH_IN, _HEIGHT_IN * max(1, len(shown))), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.subplots(max(1, len(shown)), squeeze=False)[:, 0]
    for axes, (source_id, timeline) in zip(rows, shown.items(), strict=False):
        _draw(axes, source_id, timeline)
    if not shown:
        rows[0].set_title("no frames", loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _draw(axes: Axes, source_id: str, timeline: Timeline) -> None:
    """Draw the people as areas, and the share with a mask as a line."""
    whole_s = timeline.last.time_s - timeline.began.time_s
    edges = np.minimum(np.arange(len(timeline.steps) + 1) * timeline.step_s, whole_s)
    lasted_s = np.maximum(np.diff(edges), 1e-6)  # the last step may have only just begun
    present = {label: np.array([step[label] for step in timeline.steps]) / lasted_s for label in Label}
    below = np.zeros(len(timeline.steps))
    for label, people in present.items():
        if people.any():
            blue, green, red = COLOURS_BGR[label]
            colour = (red / 255, green / 255, blue / 255)
            axes.stairs(below + people, edges, baseline=below, fill=True, color=colour, label=LABEL_TEXT[label])
            below += people
    known = np.sum([present[label] for label in Label if label is not Label.UNKNOWN], axis=0)
    share = np.divide(present[Label.MASK], known, out=np.full_like(known, np.nan), where=known > 0)
    beside = axes.twinx()
    beside.stairs(share * 100, edges, baseline=None, color="black", label="share with mask")
    beside.set_ylim(0, 105)
    beside.set_ylabel("% with mask")
    name, since = plain_text(source_id), timeline.began.wall_time
    name = name if len(name) <= _LONGEST_NAME else f"...{name[3 - _LONGEST_NAME :]}"
    _write_title(axes, name if since is None else f"{name}, from {since:%Y-%m-%d %H:%M:%S} UTC")
    axes.set_xlim(0, max(whole_s, 1e-3))
    axes.set_ylim(0, max(1.0, float(below.max(initial=0.0))) * 1.05)
    axes.set_ylabel("people")
    axes.xaxis.set_major_formatter(lambda seconds, _position: str(timedelta(seconds=round(seconds))))
    handles = [*axes.get_legend_handles_labels()[0], *beside.get_legend_handles_labels()[0]]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.08, 1.0), fontsize=8, frameon=False)


def _write_title(axes: Axes, title: str) -> None:
    """Write a title, beyond ASCII as a picture: matplotlib draws boxes for what its font has not, and warns."""
    if title.isascii() and title.isprintable():
        axes.set_title(title.replace("$", r"\$"), loc="left", fontsize=_TITLE_PT)
        return
    alpha = text_alpha(title, _TITLE_PT * _CAPITAL_SHARE * _DPI / 72)[:, :_WIDEST_TITLE_PX]
    ink = np.zeros((*alpha.shape, 4), np.uint8)
    ink[..., 3] = alpha
    image = OffsetImage(ink, dpi_cor=False, interpolation="none")
    axes.add_artist(AnnotationBbox(image, (0, 1), xycoords="axes fraction", box_alignment=(0, 0), frameon=False, pad=0))
