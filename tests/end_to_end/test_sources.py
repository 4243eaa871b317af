"""Every source a user has, through the command line."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import av
import cv2
import numpy as np
import pytest

import run_stream
from tests import command_lines
from tests.conftest import DEMO
from tests.end_to_end.test_run_stream import LEAVES_WITHIN_S, command, decode, run
from tests.servers import LOGIN, PASSWORD, USER, content, http_server, locked, locked_by_digest, rtsp_server
from tests.slowness import LONGEST_S, promised, slowness
from tests.sources.test_hls import SEGMENT_S, LiveList, segments_of
from tests.sources.test_live_detection import chunked
from tests.video_files import every, plain, write_video

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with three faces."""
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    with av.open(str(DEMO)) as container:
        cv2.imwrite(str(path), next(container.decode(video=0)).to_ndarray(format="bgr24"))
    return path


@pytest.fixture
def run_here(capfd: pytest.CaptureFixture[str], signals: None) -> Run:
    """The command line in this process, which has loaded torch already."""

    def run_main(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        code = run_stream.main([*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, code, *capfd.readouterr())

    return run_main


def records(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_photo(photo: Path, tmp_path: Path, run_here: Run) -> None:
    done = run_here("--source", photo, "--output", tmp_path / "out.jpg", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    (record,) = records(done.stdout)
    assert (record["source"], record["file"], record["frame"], record["time_utc"]) == (str(photo), str(photo), 0, None)
    assert [face["label"] for face in record["faces"]].count("mask") >= 1
    given, judged = cv2.imread(str(photo)), cv2.imread(str(tmp_path / "out.jpg"))
    assert judged.shape == given.shape
    changed = (np.abs(judged.astype(int) - given) > 60).any(axis=2)
    box = record["faces"][0]["box"]
    assert changed[: int(box["y2"]) + 40, max(0, int(box["x1"]) - 40) : int(box["x2"]) + 40].sum() > 100  # the outline is there
    assert changed.mean() < 0.2  # and the rest is as it was


def test_an_image_on_a_server(photo: Path, tmp_path: Path, run_here: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for once with the login that it takes, and never told whose that is."""
    answers = {
        "/cover.jpg": locked_by_digest(content(photo.read_bytes(), "text/plain")),
        "/page.jpg": content(b"<html>", "image/jpeg"),
    }
    with http_server(answers) as address:
        url = address.replace("://", f"://{LOGIN}") + "/cover.jpg"
        done = run_here("--source", url, "--output", tmp_path / "judged.jpg", "--jsonl", "-", "--csv", tmp_path / "faces.csv")
        assert done.returncode == 0, done.stderr
        (tmp_path / "out").mkdir()
        monkeypatch.chdir(tmp_path / "out")
        into_folder = run_here("--source", url, "--output", ".")
        assert into_folder.returncode == 0, into_folder.stderr
        assert "the folder of the source" not in into_folder.stderr
        refused = run_here("--source", f"{address}/page.jpg", "--output", tmp_path / "page.jpg")
    (record,) = records(done.stdout)
    shown = address.replace("://", "://***@") + "/cover.jpg"
    assert (record["source"], record["file"], record["frame"], record["time_utc"]) == (shown, shown, 0, None)
    assert [face["label"] for face in record["faces"]].count("mask") >= 1
    given, judged = cv2.imread(str(photo)), cv2.imread(str(tmp_path / "judged.jpg"))
    assert judged.shape == given.shape
    assert 0.001 < (np.abs(judged.astype(int) - given) > 60).any(axis=2).mean() < 0.2
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "cover.jpg")), judged)
    told = done.stdout + done.stderr + into_folder.stderr + (tmp_path / "faces.csv").read_text()
    assert [secret for secret in (USER, PASSWORD, LOGIN) if secret in told] == []
    assert refused.returncode == 3
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"{address}/page.jpg: the server sends a web page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.csv", "judged.jpg", "out"]


def test_cameras_that_give_one_image_for_each_request(photo: Path, tmp_path: Path, run_here: Run) -> None:
    """One alone, and two in a list, each asked as often as it says."""
    data = photo.read_bytes()
    with http_server({"/snap": locked(content(data, "image/png")), "/b": content(data, "text/plain")}) as address:
        url = address.replace("://", f"://{LOGIN}") + "/snap"
        alone = run_here(
            *(
                "--source",
                url,
                "--output",
                tmp_path / "a.mp4",
                "--jsonl",
                "-",
                "--max-frames",
                "3",
                "--set",
                "network.snapshot_s=0.1",
            )
        )
        assert alone.returncode == 0, alone.stderr
        (tmp_path / "cameras.yaml").write_text(f"""
- {{name: gate, url: "{url}", network: {{snapshot_s: 0.2}}}}
- {{name: hall, url: "{address}/b", network: {{snapshot_s: 0.1}}}}
""")
        both = run_here("--source", tmp_path / "cameras.yaml", "--output", tmp_path / "out", "--jsonl", "-", "--max-frames", "3")
    assert both.returncode == 0, both.stderr
    frames = records(alone.stdout)
    assert all(record["file"] is None and record["time_utc"] for record in frames)
    assert frames[-1]["frame"] == 2
    times_s = decode(tmp_path / "a.mp4")
    before_end_s = [times_s[-1] - time_s for time_s in times_s]
    for record in frames:  # on a busy machine frames between them are dropped
        assert min(abs(frames[-1]["time_s"] - record["time_s"] - each) for each in before_end_s) < 0.01
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gate.mp4", "hall.mp4"]
    assert {record["source"] for record in records(both.stdout)} == {"gate", "hall"}
    assert "stalled" not in alone.stderr + both.stderr


def test_a_folder_with_images_that_cannot_be_read(photo: Path, tmp_path: Path, run_here: Run) -> None:
    folder = tmp_path / "photos"
    (folder / "deep").mkdir(parents=True)
    for name in ("one.png", "deep/two.png"):
        shutil.copy(photo, folder / name)
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.png").touch()
    done = run_here("--source", folder, "--recursive", "--output", tmp_path / "out", "--csv", tmp_path / "faces.csv")
    assert done.returncode == 0, done.stderr
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert made == ["deep/two.png", "one.png"]
    listed = done.stderr[done.stderr.index("2 of 4") :]
    assert "text.jpg" in listed
    assert "empty.png" in listed
    rows = (tmp_path / "faces.csv").read_text().splitlines()[1:]
    assert {row.split(",")[1] for row in rows} == {str(folder / "one.png"), str(folder / "deep/two.png")}


def test_a_list_of_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_here: Run) -> None:
    """Two files stand for cameras; the second one finds nothing certain enough."""
    monkeypatch.setenv("FOLDER", str(tmp_path))
    shutil.copy(DEMO, tmp_path / "clip.mp4")
    (tmp_path / "cameras.yaml").write_text("""
- {name: gate, url: "${FOLDER}/clip.mp4"}
- {name: "lab 1", url: "${FOLDER}/clip.mp4", detector: {min_score: 1}}
""")
    done = run_here(*("--source", tmp_path / "cameras.yaml", "--output", tmp_path / "out", "--jsonl", "-", "--max-frames", "3"))
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gate.mp4", "lab_1.mp4"]
    assert [len(decode(path)) for path in (tmp_path / "out").iterdir()] == [3, 3]
    faces = {name: [len(r["faces"]) for r in records(done.stdout) if r["source"] == name] for name in ("gate", "lab 1")}
    assert faces == {"gate": [3, 3, 3], "lab 1": [0, 0, 0]}


def test_a_list_of_one_camera_makes_its_folder_too(tmp_path: Path, run_here: Run) -> None:
    (tmp_path / "cameras.yaml").write_text(f"- {{name: gate, url: '{DEMO}'}}")
    done = run_here("--source", tmp_path / "cameras.yaml", "--output", tmp_path / "out", "--max-frames", "1")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gate.mp4"]


def test_a_name_that_is_no_text(photo: Path, tmp_path: Path) -> None:
    path = bytes(tmp_path) + b"/caf\xe9.png"
    shutil.copy(photo, path)
    asked = command("--source", os.fsdecode(path), "--csv", "-", "--jsonl", tmp_path / "faces.jsonl")
    done = command_lines.run(asked, env={**os.environ, "PYTHONIOENCODING": "ascii:strict"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith(path + b"," + path + b",0,0.0,")
    assert records((tmp_path / "faces.jsonl").read_text())[0]["file"] == os.fsdecode(path)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (65, 47)])
def test_odd_sizes_and_a_single_frame(tmp_path: Path, size: tuple[int, int], run_here: Run) -> None:
    clip = write_video(
        tmp_path / "clip.avi", every(0.04, 1), size=size, codec="png", pix_fmt="rgb24", image=lambda _: plain((0, 0, 255), size)
    )
    done = run_here("--source", clip, "--output", tmp_path / "out.mp4")
    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / "out.mp4")) as container:
        (frame,) = container.decode(video=0)
    assert (frame.width, frame.height) == tuple(side + side % 2 for side in size)
    assert frame.to_ndarray(format="bgr24").mean(axis=(0, 1)) == pytest.approx([0, 0, 255], abs=12)


@pytest.mark.slow
def test_an_8k_image(photo: Path, tmp_path: Path, run_here: Run) -> None:
    cv2.imwrite(str(tmp_path / "8k.jpg"), cv2.resize(cv2.imread(str(photo)), (7680, 4320), interpolation=cv2.INTER_CUBIC))
    done = run_here("--source", tmp_path / "8k.jpg", "--output", tmp_path / "out.jpg", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert len(records(done.stdout)[0]["faces"]) == 3
    assert cv2.imread(str(tmp_path / "out.jpg")).shape == (4320, 7680, 3)


def test_a_camera_with_a_password(tmp_path: Path, rtsp_tools: None) -> None:
    with rtsp_server(DEMO) as camera:
        url = camera.url("/locked", LOGIN)
        frames = round(40 * slowness())  # of which some are analysed
        done = run("--source", url, "--output", tmp_path, "--jsonl", tmp_path / "faces.jsonl", "--max-frames", str(frames))
        refused = run("--source", camera.url("/locked", "me:hunter2@"), "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    (video,) = tmp_path.glob("*.mp4")
    assert video.name == f"127.0.0.1_{camera.port}_locked.mp4"
    found = records((tmp_path / "faces.jsonl").read_text())
    assert {record["source"] for record in found} == {f"rtsp://***@127.0.0.1:{camera.port}/locked"}
    assert [len(record["faces"]) for record in found] == [3] * len(found)
    assert len(decode(video)) == len(found) >= 2  # the newest frame each time
    times = decode(video)
    assert times[-1] - times[0] == pytest.approx(found[-1]["time_s"] - found[0]["time_s"], abs=0.05)
    assert (refused.returncode, refused.stdout) == (3, "")
    assert refused.stderr.splitlines()[-1].startswith(f"rtsp://***@127.0.0.1:{camera.port}/locked: user or password")
    everything = done.stderr + refused.stderr + (tmp_path / "faces.jsonl").read_text()
    assert not {"p%40ss", "p@ss", "hunter2"} & set(re.findall(r"[\w%@]+", everything))


@pytest.mark.slow
def test_ctrl_c_while_a_camera_does_not_answer() -> None:
    """A cold start."""
    with ExitStack() as running:
        listening = running.enter_context(create_server(("127.0.0.1", 0)))
        listening.settimeout(LONGEST_S)
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        process = running.enter_context(
            subprocess.Popen(command("--source", f"rtsp://{place}/1", "--source", f"http://{place}/2"))
        )
        running.callback(process.kill)
        for _ in range(2):
            running.enter_context(listening.accept()[0])
        assert process.poll() is None
        with promised(LEAVES_WITHIN_S):
            process.send_signal(signal.SIGINT)
            assert process.wait(LONGEST_S) == 130


@pytest.mark.parametrize("ending", ["length", "chunks"])
def test_a_recording_without_a_duration_ends(tmp_path: Path, run_here: Run, ending: str) -> None:
    path = write_video(tmp_path / "clip.webm", every(0.04, 6), codec="libvpx", container_options={"live": "1"})
    answer = chunked(path.read_bytes()) if ending == "chunks" else content(path.read_bytes(), "video/webm")
    with http_server({"/clip.webm": answer}) as address:
        done = run_here("--source", f"{address}/clip.webm", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert ending == "chunks" or [record["frame"] for record in records(done.stdout)] == list(range(6))
    assert "its end was reached" in done.stderr


def test_what_cannot_be_read_without_seeking_ends_alone_and_beside_others(tmp_path: Path, run_here: Run) -> None:
    noise = np.random.default_rng(1)
    path = write_video(
        *(tmp_path / "clip.mp4", every(0.04, 30)),
        size=(320, 240),
        image=lambda _: noise.integers(0, 256, (240, 320, 3), np.uint8),
    )
    other = write_video(tmp_path / "other.webm", every(0.04, 3), codec="libvpx", container_options={"live": "1"})
    answers = {
        "/clip.mp4": content(path.read_bytes(), "video/mp4", ranges=False),
        "/other": content(other.read_bytes(), "video/webm"),
    }
    with http_server(answers) as address:
        alone = run_here("--source", f"{address}/clip.mp4", "--jsonl", "-")
        both = run_here("--source", f"{address}/clip.mp4", "--source", f"{address}/other", "--jsonl", "-")
    assert (alone.returncode, both.returncode) == (3, 3)
    assert "/clip.mp4: cannot be read without seeking" in alone.stderr
    assert "/clip.mp4: cannot be read without seeking" in both.stderr
    assert [record["frame"] for record in records(both.stdout)] == [0, 1, 2]


def test_a_live_playlist_is_recorded_at_its_own_speed_until_it_ends(tmp_path: Path, run_here: Run) -> None:
    live = LiveList(segments_of(tmp_path / "segments", 5))
    with http_server(live.answers()) as address:
        done = run_here("--source", f"{address}/live.m3u8", "--output", tmp_path / "out.mp4", "--jsonl", "-")
    assert done.returncode == 0, done.stderr
    assert "stalled" not in done.stderr
    times_s = [float(str(record["time_s"])) for record in records(done.stdout)]
    assert len(times_s) > 2
    with av.open(str(tmp_path / "out.mp4")) as container:
        lasts_s = float(container.duration) / av.time_base
    assert lasts_s == pytest.approx(times_s[-1] - times_s[0] + 0.04, abs=0.05)
    assert lasts_s <= 5 * SEGMENT_S + 0.05
