"""What the benchmark says; how fast anything is, it may not be asked here."""

import json
from pathlib import Path
from time import sleep

import cv2
import pytest

from maskstream import MaskPipeline, load_config
from maskstream.benchmark.bench import Bench
from maskstream.benchmark.paced_cameras import START, Pictures, Site, cores_needed, run_cameras
from maskstream.benchmark.rounds import Workload, percentiles, ratio, take_turns
from maskstream.config.loading import Layer, refine
from tests.conftest import DEMO
from tests.slowness import slowness
from tools import benchmark

OTHERS = {
    "backends": ("bare_openvino", "bare_onnx", "bare_torch", "bare_torchvision"),
    "classifiers": ("default_mask_resnet18", "default_mask_mobilenet"),
    "yolo": ("detector_eager", "yolo11n_pose"),
}
RATIOS = {
    "backends": ("backend_over_eager", "backend_over_torchvision"),
    "classifiers": ("resnet18_over_mobilenet",),
    "yolo": ("detector_over_yolo",),
}
"""What `--compare` adds to the report."""


@pytest.mark.slow
@pytest.mark.parametrize("compared", [(), ("backends", "classifiers", "yolo")], ids=["alone", "compared"])
def test_the_report_has_all_workloads(tmp_path: Path, capfd: pytest.CaptureFixture[str], compared: tuple[str, ...]) -> None:
    json_path, png_path = tmp_path / "speed.json", tmp_path / "speed.png"
    few = ("--frames", "3", "--rounds", "2", "--starts", "1", "--set", "detector.short_side=128")
    written = ("--json", str(json_path), "--png", str(png_path))
    asked = [option for name in compared for option in ("--compare", name)]
    code = benchmark.main(["--source", str(DEMO), *few, *asked, *written])
    out, err = capfd.readouterr()
    assert code == 0, err
    record = json.loads(json_path.read_text())
    names = {"bare", "overlapping", "pipeline", "default", "pipeline_video", "decode", "encode", "opencv_loop"}
    assert set(record["contestants"]) == names.union(*(OTHERS[name] for name in compared))
    for name, figures in record["contestants"].items():
        assert figures["frames"] == 3, name
        assert figures["fps_spread"][0] <= figures["fps"] <= figures["fps_spread"][1]
    ratios = [each for name in compared for each in RATIOS[name]]
    for name in ("pipeline_over_bare", "pipeline_over_overlapping", "video_over_slowest", *ratios):
        least, most = record[f"{name}_spread"]
        assert 0 < least <= record[name] <= most
    assert set(record["stages_ms"]) == {"capture", "detect", "align", "classify", "total"}
    assert 0 < record["start_to_first_result_s"] < 120
    assert 100 < record["peak_rss_mb"] < 8000
    assert record["machine"]["cores"] >= 1
    assert record["gflop_per_frame"] == pytest.approx(1.3, abs=0.7)  # of a small image
    assert record["floor_ms_per_frame"] == pytest.approx(
        1000 * record["gflop_per_frame"] / record["matmul_gflop_per_s"], rel=0.02
    )
    assert "pipeline / models alone" in out
    assert cv2.imread(str(png_path)).shape[1] > 500


@pytest.mark.slow
def test_sweeps_vary_one_thing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    json_path = tmp_path / "speed.json"
    few = ("--frames", "4", "--rounds", "1", "--starts", "0", "--set", "detector.short_side=192", "--json", str(json_path))
    sweeps = [option for name in ("batch", "short_side", "faces", "cameras", "every") for option in ("--sweep", name)]
    assert benchmark.main(["--source", str(DEMO), *few, *sweeps]) == 0
    record = json.loads(json_path.read_text())
    rows = record["sweeps"]
    values = {name: [row[name] for row in rows[name]] for name in rows}
    assert values["batch"] == [1, 2, 4]
    assert values["faces"] == [1, 10, 50, 100]
    assert values["cameras"] == [1, 2, 4, 8]
    assert rows["faces"][0]["found"] == 1
    assert rows["faces"][2]["found"] > 20
    at_every_frame, *followed = rows["every"]
    assert (at_every_frame["found_again"], at_every_frame["same_label"], at_every_frame["others_per_frame"]) == (1, 1, 0)
    assert all(row["found_again"] > 0.9 for row in followed)
    assert set(record["waited_share"]) == {"capture", "inference", "rendering"}
    assert set(record["real_time_factor"]) == {"pipeline", "default"}
    assert "sweep of short_side" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--source", "none.mp4"], 3, "none.mp4: no such file"),
        (["--source", str(DEMO), "--compare", "snail"], 2, "--compare: 'snail' is not known; allowed: paper, yolo, backends"),
        (["--source", str(DEMO), "--sweep", "snail"], 2, "--sweep: 'snail' is not known; allowed: batch, short_side, precision"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], code: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--quiet", *arguments]) == code
    assert said in capfd.readouterr().err


def test_workloads_take_turns() -> None:
    turns: list[str] = []

    def runs(name: str, seconds: float) -> Workload:
        return Workload(name, "", lambda: [turns.append(name), sleep(seconds), 10][-1])  # type: ignore[func-returns-value]

    times = take_turns([runs("a", 0.01), runs("b", 0.05)], 2, lambda _: None)
    assert turns == ["a", "b", "a", "b", "a", "b"]
    middle, least, most = ratio(times["a"], times["b"])
    assert 1 < least <= middle <= most
    assert 5 <= times["b"].record()["ms_per_frame"] < 7.5 * slowness()


def test_percentiles() -> None:
    assert percentiles([float(n) for n in range(100)]) == {"p50": 50, "p95": 95, "p99": 99}
    assert percentiles([7.0]) == {"p50": 7, "p95": 7, "p99": 7}


def test_quiet_cameras_are_analysed_without_detections(pipeline: MaskPipeline) -> None:
    """At five frames a second. A busy machine drops most frames: how many is not asserted."""
    bench = Bench(str(DEMO), 1, load_config())
    pictures = Pictures.of(bench)
    for picture in (pictures.busy[0], pictures.busy[-1]):
        assert len(pipeline(picture)) == 5
    assert {len(pipeline(picture)) for picture in pictures.quiet[::5]} == {0}
    site = Site(pictures, busy=0, quiet=2, seconds=2.0)  # with 4 detections in turn of each; at rest, one
    without, with_rests = (
        cores_needed(bench, site, refine(bench.config, Layer.of_key("test", "detector.motion", motion)))
        for motion in (False, True)
    )
    assert 0 < with_rests < 0.7 * without
    measured = run_cameras(bench, Site(pictures, busy=1, quiet=2, seconds=1.2), bench.config)
    frames = measured.pop("frames")
    assert 0 < frames <= 18
    assert set(measured) == {"kept", "busy_fps", "quiet_fps", "age_p99_ms", "used_cores", "rss_mb"}
    assert measured["quiet_fps"] <= 5
    assert measured["kept"] == pytest.approx(frames / 18, abs=0.001)


def test_made_cameras_are_decoded_as_real_ones_are(pipeline: MaskPipeline) -> None:
    """All frames arrive, in order and as a live source; the faces are found in what the encoder has left of them."""
    pictures = Pictures.of(Bench(str(DEMO), 1, load_config()))
    busy, quiet = Site(pictures, busy=1, quiet=1, seconds=0.8).cameras()
    assert busy.info.live
    assert (busy.info.width, busy.info.height, busy.info.average_fps) == (1280, 720, 5)
    for camera, count in ((busy, 5), (quiet, 0)):
        frames = list(camera)
        camera.close()
        assert [(frame.index, frame.time_s) for frame in frames] == [(index, index / 5) for index in range(START + 4)]
        assert all(frame.captured_at_s > 0 and frame.wall_time for frame in frames)
        assert [len(pipeline(frame.bgr)) for frame in frames[::7]] == [count, count]
