"""Run a benchmark: workloads in turns, ratios, stages, start-up time and sweeps."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any, Final

import torch
from torch.utils.flop_counter import FlopCounterMode

from maskstream import __version__
from maskstream.benchmark import workloads
from maskstream.benchmark.bench import Bench
from maskstream.benchmark.machine import machine
from maskstream.benchmark.rounds import Times, Workload, percentiles, ratio, take_turns
from maskstream.benchmark.sweeps import SWEEPS, run_sweep
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.inference.pipeline import batch_size_of, build_analyzer
from maskstream.models import CROP_ARCHITECTURES
from maskstream.models.backends import installed_backends
from maskstream.models.devices import pick_device
from maskstream.models.face_mobilenet import SHORT_SIDE

COMPARISONS: Final = ("paper", "yolo", "backends", "classifiers")
_PAPER_FRAMES: Final = 2
_MATRIX_SIDE: Final = 1536
_PRODUCTS: Final = 9
_FALLBACK_FPS: Final = 25.0
_LIVE_S: Final = 10.0
"""Fewer than 100 frames have no 99th percentile: it would be that of the slowest one."""
_PROGRAM: Final = (sys.executable, "-P", "-m", "maskstream", "run")
_PLACE: Final = str(Path(__file__).resolve().parents[2])
"""Folder of the package for PYTHONPATH: a checkout may not be installed."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """The options of `maskstream benchmark`, without the configuration."""

    source: str
    frames: int
    rounds: int
    comparisons: tuple[str, ...] = ()
    """Names from `COMPARISONS`."""
    starts: int = 0
    """Number of starts of the program in a new process."""
    sweeps: tuple[str, ...] = ()
    """Names from `SWEEPS`."""


def run_benchmark(
    request: BenchmarkRequest, config: Config, progress: Callable[[str], None]
) -> tuple[dict[str, Any], dict[str, Times]]:
    """Run all workloads of a request.

    Returns:
        All results, as `json.dumps` takes them, and the times of each workload.

    Raises:
        MaskStreamError: The source or a model cannot be opened, or a package is not installed.
    """
    _require_known("--compare", request.comparisons, COMPARISONS)
    _require_known("--sweep", request.sweeps, tuple(SWEEPS))
    bench = Bench(request.source, request.frames, config)
    times = take_turns(_workloads(bench, request, config), request.rounds, progress)
    if "paper" in request.comparisons:
        times |= take_turns([workloads.paper(bench, _PAPER_FRAMES), workloads.default(bench)], request.rounds, progress)
    record: dict[str, Any] = {
        "program": f"maskstream {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "machine": machine(),
        "source": f"{request.source}, {bench.info.width}x{bench.info.height}, {len(bench.frames)} frames",
        "device": pick_device(config.device),
        "batch_size": batch_size_of(config, is_video=False),
        "detector_every": bench.every,
        "contestants": {name: each.record() for name, each in times.items()},
        **_ratios(times),
    }
    if bench.info.average_fps:
        factors = {name: median(times[name].fps) / bench.info.average_fps for name in ("pipeline", "default")}
        record["real_time_factor"] = {name: round(factor, 3) for name, factor in factors.items()}
    progress("stages, and frames of a camera")
    record |= _floor(bench) | _stages(bench) | _start(request, progress)
    if torch.cuda.is_available():
        record["peak_gpu_mb"] = round(torch.cuda.max_memory_allocated() / 2**20, 1)
    record["sweeps"] = {name: run_sweep(name, bench, request.rounds, progress) for name in request.sweeps}
    record["said"] = _said(record)
    return record, times


def _require_known(option: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    for name in given:
        if name not in allowed:
            raise ConfigError(f"{option}: {name!r} is not known; allowed: {', '.join(allowed)}")


def _workloads(bench: Bench, request: BenchmarkRequest, config: Config) -> list[Workload]:
    chosen = [
        workloads.bare(bench),
        workloads.overlapping(bench),
        workloads.pipeline(bench),
        workloads.default(bench),
        workloads.pipeline_with_video(bench),
        workloads.decode(bench),
        workloads.encode(bench),
        workloads.opencv_loop(bench),
    ]
    if "backends" in request.comparisons:
        chosen += [workloads.backend(bench, name) for name in installed_backends(pick_device(config.device))]
        chosen.append(workloads.torchvision_eager(bench))
    if "classifiers" in request.comparisons:
        chosen += [workloads.classifier(bench, name) for name in CROP_ARCHITECTURES]
    if "yolo" in request.comparisons:
        side = config.detector.short_side
        chosen += [workloads.detector_eager(bench), workloads.yolo_forward(bench, side if isinstance(side, int) else SHORT_SIDE)]
    return chosen


def _ratios(times: dict[str, Times]) -> dict[str, Any]:
    pairs = {
        "pipeline_over_bare": ("pipeline", "bare"),
        "pipeline_over_overlapping": ("pipeline", "overlapping"),
        "default_over_paper": ("default", "paper"),
        "detector_over_yolo": ("detector_eager", "yolo11n_pose"),
        "resnet18_over_mobilenet": ("default_mask_resnet18", "default_mask_mobilenet"),
        "backend_over_eager": ("bare", "bare_torch"),
        "backend_over_torchvision": ("bare", "bare_torchvision"),
        "video_over_slowest": ("pipeline_video", min(("bare", "decode", "encode"), key=lambda name: median(times[name].fps))),
    }
    found: dict[str, Any] = {}
    for name, (of, to) in pairs.items():
        if of in times and to in times:
            middle, *spread = ratio(times[of], times[to])
            found |= {name: middle, f"{name}_spread": spread}
    return found


def _floor(bench: Bench) -> dict[str, float]:
    """Compute the lower limit of the time of a frame from the GFLOP of the networks and the rate of matrix products."""
    device = pick_device(bench.config.device)
    eager = {"detector": {"backend": "torch"}, "classifier": {"backend": "torch"}}
    analyzer = build_analyzer(refine(bench.config, Layer("benchmark", eager)))
    with FlopCounterMode(display=False) as counter:
        analyzer.analyze(bench.frames[:1])
    first, second = (torch.rand(_MATRIX_SIDE, _MATRIX_SIDE, device=device) for _ in range(2))

    def multiply() -> int:
        (first @ second)[0, 0].item()  # waits for a GPU
        return 1

    products = take_turns([Workload("product", "", multiply)], _PRODUCTS, lambda _: None)["product"]
    rate = 2 * _MATRIX_SIDE**3 * median(products.fps) / 1e9
    gflop = counter.get_total_flops() / 1e9
    return {
        "gflop_per_frame": round(gflop, 2),
        "matmul_gflop_per_s": round(rate, 1),
        "floor_ms_per_frame": round(1000 * gflop / rate, 2),
    }


def _stages(bench: Bench) -> dict[str, Any]:
    sink, report = bench.stream()
    results = sink.results
    stages = {stage: percentiles([result.timing_ms[stage] for result in results]) for stage in results[0].timing_ms}
    return {
        "stages_ms": stages,
        "waited_share": {thread: round(waited_s / report.elapsed_s, 3) for thread, waited_s in report.waited_s.items()},
        "faces_per_frame": round(sum(len(result.faces) for result in results) / len(results), 2),
        **_live(bench),
    }


def _live(bench: Bench) -> dict[str, Any]:
    """Run the clip as a camera, for 10 s where it is as long, and measure the age of the frames."""
    fps = bench.info.average_fps or _FALLBACK_FPS
    frames = min(bench.info.frame_count or len(bench.frames), max(len(bench.frames), round(_LIVE_S * fps)))
    live, _ = bench.stream(realtime=True, every=bench.every, frames_each=frames)
    inference_ms, detection_ms = [], []
    for result in live.results:
        took_ms = sum(result.timing_ms[stage] for stage in ("detect", "align", "classify"))
        inference_ms.append(took_ms)
        if result.timing_ms["classify"]:  # not only propagated
            detection_ms.append(took_ms)
    ages_ms = percentiles([age_s * 1000 for age_s in live.ages_s])
    return {
        "live_age_ms": ages_ms,
        "live_age_in_inference_times": round(ages_ms["p99"] / median(detection_ms or inference_ms), 2),
        "live_fps": round(len(live.results) / (frames / fps), 2),
    }


def _start(request: BenchmarkRequest, progress: Callable[[str], None]) -> dict[str, Any]:
    """Start the program in a new process and measure the time until its first record."""
    seconds: list[float] = []
    peaks_mb: list[float] = []
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (_PLACE, os.environ.get("PYTHONPATH"))))}
    for number in range(request.starts):
        progress(f"start {number + 1} of {request.starts}")
        command = [*_PROGRAM, "--source", request.source, "--jsonl", "-", "--quiet", "--max-frames", "20"]
        began_s = monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:  # noqa: S603 (our own program)
            assert process.stdout is not None
            process.stdout.readline()
            seconds.append(monotonic() - began_s)
            peaks_mb += [_peak_mb(process.pid) for _ in process.stdout]
    if not seconds:
        return {}
    return {"start_to_first_result_s": round(median(seconds), 2), "peak_rss_mb": round(max(peaks_mb, default=0.0), 1)}


def _peak_mb(pid: int) -> float:
    """Return the peak memory of a process; 0 if the system does not provide it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _said(record: dict[str, Any]) -> Sequence[str]:
    age_ms = record["live_age_ms"]["p99"]
    waited = ", ".join(f"{thread} {share:.0%}" for thread, share in record["waited_share"].items())
    factors = record.get("real_time_factor")
    lines = []
    if factors:
        lines.append(f"speed relative to real time: every frame {factors['pipeline']:g}, default {factors['default']:g}")
    lines += [
        f"a frame needs {record['gflop_per_frame']:g} GFLOP, which is {record['floor_ms_per_frame']:g} ms at the rate of matrix "
        f"products ({record['matmul_gflop_per_s']:g} GFLOP/s)",
        f"{record['faces_per_frame']:g} faces per frame; threads wait for others: {waited} of the time",
        f"live: {record['live_fps']:g} fps shown; age of frames {age_ms:.0f} ms at p99, "
        f"{record['live_age_in_inference_times']:g} inference times",
    ]
    if "start_to_first_result_s" in record:
        lines.append(f"{record['start_to_first_result_s']:g} s from start to first result, peak {record['peak_rss_mb']:.0f} MB")
    if "peak_gpu_mb" in record:
        lines.append(f"peak memory of the GPU {record['peak_gpu_mb']:.0f} MB")
    return lines
