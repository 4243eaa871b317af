"""What a benchmark has found: as a table, an image and JSON."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from maskstream.benchmark.rounds import Times
from maskstream.io.files import replace_file

_RATIOS: Final = {
    "pipeline_over_bare": "pipeline / models alone, both every frame",
    "default_over_paper": "default / the paper's loop",
    "detector_over_yolo": "our detector / YOLO11n-pose's network, both in eager PyTorch",
    "backend_over_eager": "models by the best backend / by ours in eager PyTorch",
    "backend_over_torchvision": "models by the best backend / as torchvision runs them in eager PyTorch",
    "video_over_slowest": "pipeline with video / the slowest of models, decoding and encoding alone",
}


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write everything that was found.

    Raises:
        SinkError: It cannot be written.
    """
    replace_file(path, json.dumps(record, indent=2).encode() + b"\n")


def print_tables(console: Console, record: Mapping[str, Any]) -> None:
    """Print contestants, ratios, stages and the rest."""
    workloads = Table("contestant", "fps", "least to most", "ms a frame", "what", title=f"{record['source']}")
    for name, figures in record["contestants"].items():
        least, most = figures["fps_spread"]
        workloads.add_row(
            name, f"{figures['fps']:.2f}", f"{least:.2f} to {most:.2f}", f"{figures['ms_per_frame']:.1f}", figures["what"]
        )
    console.print(workloads)
    ratios = Table("ratio", "median", "least to most")
    for name, what in _RATIOS.items():
        if name in record:
            least, most = record[f"{name}_spread"]
            ratios.add_row(what, f"{record[name]:.2f}", f"{least:.2f} to {most:.2f}")
    console.print(ratios)
    stages = Table("stage, ms a frame", "p50", "p95", "p99")
    for name, figures in record["stages_ms"].items():
        stages.add_row(name, *(f"{figures[share]:.1f}" for share in ("p50", "p95", "p99")))
    console.print(stages)
    for name, rows in record["sweeps"].items():
        sweep = Table(*rows[0], title=f"sweep of {name}")
        for row in rows:
            sweep.add_row(*(" to ".join(map(str, value)) if isinstance(value, list) else str(value) for value in row.values()))
        console.print(sweep)
    for line in record["said"]:
        console.print(line)


def draw(path: Path, times: Mapping[str, Times]) -> None:
    """Draw frames per second of all contestants, with their spread, as a PNG.

    Raises:
        SinkError: It cannot be written.
    """
    names = list(times)
    with mpl.rc_context({"font.family": "DejaVu Sans"}):
        figure = Figure(figsize=(8, 0.5 * len(names) + 1.2), layout="constrained")
        axes = figure.add_subplot()
        for row, name in enumerate(reversed(names)):
            fps = sorted(times[name].fps)
            axes.barh(row, fps[len(fps) // 2], color="#4c78a8")
            axes.plot([fps[0], fps[-1]], [row, row], color="black", linewidth=1)
        axes.set_yticks(range(len(names)), list(reversed(names)))
        axes.set_xscale("log")
        axes.set_xlabel("frames per second")
        content = BytesIO()
        figure.savefig(content, format="png", dpi=120)
    replace_file(path, content.getvalue())
