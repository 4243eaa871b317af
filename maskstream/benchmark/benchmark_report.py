"""Write the results of a benchmark as tables, as a plot and as JSON."""

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
    "pipeline_over_overlapping": "pipeline / models alone with two batches in flight",
    "default_over_paper": "default / the paper's loop",
    "detector_over_yolo": "our detector / the network of YOLO11n-pose, both in eager PyTorch",
    "resnet18_over_mobilenet": "the program with mask_resnet18 / with mask_mobilenet",
    "backend_over_eager": "models with the best backend / with eager PyTorch",
    "backend_over_torchvision": "models with the best backend / the same networks in torchvision",
    "video_over_slowest": "pipeline with video output / the slowest of models, decoding and encoding alone",
}


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write all results.

    Raises:
        SinkError: The file cannot be written.
    """
    replace_file(path, json.dumps(record, indent=2).encode() + b"\n")


def print_tables(console: Console, record: Mapping[str, Any]) -> None:
    """Print workloads, ratios, stages, sweeps and remarks."""
    workloads = Table("workload", "fps", "min to max", "ms per frame", "what", title=f"{record['source']}")
    for name, of in record["contestants"].items():
        least, most = of["fps_spread"]
        workloads.add_row(name, f"{of['fps']:.2f}", f"{least:.2f} to {most:.2f}", f"{of['ms_per_frame']:.1f}", of["what"])
    ratios = Table("ratio", "median", "min to max")
    for name, what in _RATIOS.items():
        if name in record:
            least, most = record[f"{name}_spread"]
            ratios.add_row(what, f"{record[name]:.2f}", f"{least:.2f} to {most:.2f}")
    stages = Table("stage, ms per frame", "p50", "p95", "p99")
    for name, of in record["stages_ms"].items():
        stages.add_row(name, f"{of['p50']:.1f}", f"{of['p95']:.1f}", f"{of['p99']:.1f}")
    for table in (workloads, ratios, stages):
        console.print(table)
    for name, rows in record["sweeps"].items():
        sweep = Table(*rows[0], title=f"sweep of {name}")
        for row in rows:
            sweep.add_row(*(" to ".join(map(str, value)) if isinstance(value, list) else str(value) for value in row.values()))
        console.print(sweep)
    for line in record["said"]:
        console.print(line)


def draw(path: Path, times: Mapping[str, Times]) -> None:
    """Draw the frames per second of all workloads with their spread, as a PNG file.

    Raises:
        SinkError: The file cannot be written.
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
