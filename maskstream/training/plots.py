"""Plot the losses and metrics of a training."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure


def draw_curves(history: Sequence[dict[str, Any]]) -> bytes:
    """Return a PNG image: the losses of each epoch on the left, the validation metrics on the right.

    Args:
        history: The entries of the history file; at least one epoch.
    """
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    for axes, key, title in zip(figure.subplots(1, 2), ("losses", "figures"), ("training losses", "validation"), strict=True):
        epochs = [entry["epoch"] for entry in history]
        for name in history[-1][key]:
            axes.plot(epochs, [entry[key].get(name) for entry in history], marker="o", markersize=3, label=name)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110)
    return written.getvalue()
