"""Time a device by the number of faces in a frame and by the number of cameras."""

from functools import partial
from typing import Any, Final

from maskstream.benchmark.crowds import crowd, most_certain_face
from maskstream.benchmark.gpu_setup import CLIP, SPENT, Check, analyse, as_frame, steps_passed
from maskstream.benchmark.rounds import Workload, ratio, take_turns

_CROWDED_BATCHES: Final = 2
"""Number of batch sizes of the plan."""


def faces(check: Check) -> dict[str, Any]:
    """Time frames with many faces and frames with one face, in turns."""
    shown = most_certain_face(check.frames, analyse(check.analyzer(), check.frames))
    if shown is None:
        return {"passed": False, "said": "no face was found to copy into a crowd"}
    sizes = check.plan.batches[:_CROWDED_BATCHES]
    frame, face = shown
    crowds = {count: [as_frame(crowd(frame, face, count)) for _ in range(max(sizes))] for count in check.plan.crowds}
    rows: list[dict[str, Any]] = []
    for precision in check.timed_precisions:
        analyzer = check.analyzer(precision)
        found = {count: len(analyzer.analyze(frames[:1])[0].faces) for count, frames in crowds.items()}
        for size in sizes:
            if check.seconds_left() < 0:
                rows.append({"precision": precision, "batch": size, "left_out": SPENT})
                continue
            check.say(f"faces: {precision}, batch {size}")
            runs = [Workload(str(count), "", partial(_analyse_all, analyzer, each, size)) for count, each in crowds.items()]
            times = take_turns(runs, check.plan.rounds, lambda _: None)
            for count in crowds:
                row: dict[str, Any] = {"precision": precision, "batch": size, "faces": count, "found": found[count]}
                row["ms_per_frame"] = times[str(count)].record()["ms_per_frame"]
                row["times_one_face"], *row["spread"] = ratio(times[str(min(crowds))], times[str(count)])
                rows.append(row)
            check.keep(rows)
    most = max(crowds)
    of_most = [row for row in rows if row.get("faces") == most]
    ratios = [f"{row['times_one_face']:.2f} ({row['precision']}, batch {row['batch']})" for row in of_most]
    return {
        "passed": None,
        "said": f"time of a frame with {most} faces / with 1 face: {', '.join(ratios)}",
        "rows": rows,
    }


def camera_batches(check: Check) -> dict[str, Any]:
    """Time detector and classifier on batches with one frame of each camera, without the rest of the program."""
    rows = []
    for precision in check.timed_precisions:
        analyzer = check.analyzer(precision)
        for count in check.plan.cameras:
            frames = check.timed_images(max(count, check.plan.least_frames // count * count))
            row = check.timed(f"camera_batches: {precision}, {count}", partial(_analyse_all, analyzer, frames, count))
            per_camera = {"fps_per_camera": round(row["fps"] / count, 1)} if "fps" in row else {}
            rows.append({"precision": precision, "cameras": count, **row, **per_camera})
            check.keep(rows)
    return {
        "passed": steps_passed(rows),
        "said": "detector and classifier alone, with a frame of each camera in a batch",
        "rows": rows,
    }


def cameras(check: Check) -> dict[str, Any]:
    """Time the complete program on several copies of the clip at once: decoding, models and tracking, without drawing."""
    from maskstream.benchmark.bench import Bench  # needs PyAV and the trackers

    if not CLIP.is_file():
        return {"skipped": f"{CLIP.name} exists only in a checkout"}
    config = check.config(detector={"short_side": check.plan.short_side})
    bench = Bench(str(CLIP), 1, config)
    rows: list[dict[str, Any]] = []
    for every in (1, config.detector.every):
        bench.stream(every=every, copies=1, frames_each=check.plan.frames_each)  # warms up
        for count in check.plan.cameras:
            if check.seconds_left() < 0:
                rows.append({"every": every, "cameras": count, "left_out": SPENT})
                continue
            check.say(f"cameras: every {every}, {count}")
            _, report = bench.stream(every=every, copies=count, frames_each=check.plan.frames_each)
            fps = report.frames / report.elapsed_s
            row: dict[str, Any] = {"every": every, "cameras": count, "frames": report.frames, "fps": round(fps, 1)}
            row |= {"fps_per_camera": round(fps / count, 1), "in_models": round(report.model_s / report.elapsed_s, 3)}
            rows.append(row | {name: round(waited_s / report.elapsed_s, 3) for name, waited_s in report.waited_s.items()})
            check.keep(rows)
    size = f"{bench.info.width}x{bench.info.height}"
    said = f"the complete program on {CLIP.name}, {size}, float32; fractions of the time in the models"
    return {"passed": None, "said": f"{said} and waiting, by thread (capture: all cameras together)", "rows": rows}


def _analyse_all(analyzer: Any, frames: Any, size: int) -> int:
    return len(analyse(analyzer, frames, size))
