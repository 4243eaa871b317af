"""The id of a job changes with everything that could change its result, and with nothing else."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from maskstream import load_config
from maskstream.config.cameras import Camera, read_cameras
from maskstream.config.loading import Layer
from maskstream.config.schema import Config
from maskstream.errors import ConfigError, ModelError
from maskstream.fleet.jobs import Basis, Job, jobs_of, result_settings, settings_of
from maskstream.inference.weights_hashes import require_same_weights, weights_hashes
from maskstream.models.backends import int8_graph_path
from maskstream.models.cpu_features import has_fast_int8
from tests.conftest import ROOT

BASIS = Basis("1.2.3", {"detector.safetensors": "ab", "classifier.safetensors": "cd"}, videos=False)
WITHOUT_EFFECT = {
    "webcam.mirror": True,
    "network.transport": "udp",
    "window.picture_s": 1.0,
    "store.folder": "/srv",
    "web.listen": "127.0.0.1:80",
    "csv.bom": True,
    "evaluation.iou": 0.75,
    "stream.realtime": True,
    "stream.health_s": 1.0,
    "pictures.recursive": True,
    "events.mqtt": "mqtt://user:password@broker",
    "events.queue": "/srv/queue.db",
    "privacy.readable_by": "everyone",
    "video.segment_s": 5.0,
}
WITH_EFFECT = {
    "device": "cpu",
    "threads": 1,
    "detector.every": 1,
    "detector.min_score": 0.4,
    "classifier.incorrect_as": "incorrect",
    "tracking.lost_s": 2.0,
    "steady.to_change": 3.0,
    "zones": {"door": [[0, 0], [1, 0], [1, 1]]},
    "events.min_seconds": 2.0,
    "privacy.store_crops": True,
    "stream.stride": 2,
    "stream.max_frames": 7,
    "video.deinterlace": True,
    "pictures.max_megapixels": 9.0,
}
OF_THE_VIDEO = {"overlay.keypoints": True, "video.crf": 30, "video.preset": "fast"}


def config(settings: dict[str, Any] | None = None) -> Config:
    return load_config(layers=[Layer.of_key("test", key, value) for key, value in (settings or {}).items()])


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"12345")
    return path


def job(path: Path, settings: dict[str, Any] | None = None, basis: Basis = BASIS, name: str | None = None) -> Job:
    (found,) = jobs_of([Camera(name or str(path), str(path), config(settings))], basis)
    return found


@pytest.mark.parametrize("key", WITHOUT_EFFECT)
def test_settings_without_effect_change_no_id(video: Path, key: str) -> None:
    assert job(video, {key: WITHOUT_EFFECT[key]}) == job(video)


@pytest.mark.parametrize("key", WITH_EFFECT)
def test_settings_with_effect_change_the_id(video: Path, key: str) -> None:
    assert job(video, {key: WITH_EFFECT[key]}).job_id != job(video).job_id


@pytest.mark.parametrize("key", OF_THE_VIDEO)
def test_settings_of_the_video_change_the_id_where_one_is_written(video: Path, key: str) -> None:
    settings = {key: OF_THE_VIDEO[key]}
    assert job(video, settings) == job(video)
    with_video = replace(BASIS, videos=True)
    assert job(video, settings, with_video).job_id != job(video, None, with_video).job_id


def test_file_name_program_and_weights_change_the_id(video: Path) -> None:
    first = job(video)
    assert (first.path, first.name, first.size_bytes) == (str(video), str(video), 5)
    others = [
        job(video, name="door"),
        job(video, basis=replace(BASIS, version="1.2.4")),
        job(video, basis=replace(BASIS, videos=True)),
        job(video, basis=replace(BASIS, weights={**BASIS.weights, "detector.safetensors": "ef"})),
    ]
    assert not first.has_changed()
    os.utime(video, ns=(0, 5))
    assert first.has_changed()
    others.append(job(video))
    video.write_bytes(b"123456")
    os.utime(video, ns=(0, 5))
    others.append(job(video))
    other = video.with_name("b.mp4")
    other.write_bytes(b"12345")
    os.utime(other, ns=(0, first.mtime_ns))
    others.append(job(other))
    assert len({each.job_id for each in (first, *others)}) == 1 + len(others)


def test_the_order_of_the_weights_does_not_matter(video: Path) -> None:
    turned = dict(reversed(BASIS.weights.items()))
    assert job(video, basis=replace(BASIS, weights=turned)) == job(video)


def test_settings_come_back_from_their_text() -> None:
    given = config({**WITHOUT_EFFECT, **WITH_EFFECT, **OF_THE_VIDEO})
    text = result_settings(given, videos=True)
    assert "password" not in text
    read = settings_of(text)
    assert (read.zones, read.detector, read.video.crf, read.events.min_seconds) == (given.zones, given.detector, 30, 2.0)
    assert (read.events.mqtt, read.webcam.mirror) == (None, False)
    assert result_settings(read, videos=True) == text


def test_a_file_that_is_given_twice_has_one_job(folder: Path) -> None:
    (folder / "a.mp4").write_bytes(b"1")
    common = config()
    again = [Camera("a.mp4", "a.mp4", common), Camera("./a.mp4", "./a.mp4", common)]
    (found,) = jobs_of(again, BASIS)
    assert found.path == found.name == str(folder / "a.mp4")
    with pytest.raises(ConfigError, match=r"a\.mp4: given twice, with different names or settings; give each file once"):
        jobs_of([*again, Camera("door", "a.mp4", common)], BASIS)


def test_jobs_are_in_order_of_their_paths_and_share_their_settings(folder: Path) -> None:
    (folder / "list.yaml").write_text("- {name: Hall, url: hall, events: {min_seconds: 3}}\n- {name: one, url: b.mp4}\n")
    (folder / "hall").mkdir()
    for name in ("hall/z.mp4", "hall/y.mp4", "b.mp4"):
        (folder / name).write_bytes(b"1")
    found = jobs_of(read_cameras(["list.yaml"], config()), BASIS)
    assert [(each.name, Path(each.path).name) for each in found] == [
        ("one", "b.mp4"),
        ("Hall/y.mp4", "y.mp4"),
        ("Hall/z.mp4", "z.mp4"),
    ]
    assert found[1].settings is found[2].settings
    assert settings_of(found[1].settings).events.min_seconds == 3


def test_files_that_cannot_be_read_or_have_strange_names_are_jobs(tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode(b"\xff\n\xc3\xa4.mp4")
    strange.write_bytes(b"1")
    assert job(strange).size_bytes == 1
    assert (job(tmp_path / "gone.mp4").size_bytes, job(tmp_path / "gone.mp4").mtime_ns) == (0, 0)


def test_hashes_are_those_of_all_weights_that_may_be_loaded(tmp_path: Path) -> None:
    shipped = weights_hashes(config({"precision": "float32"}))
    assert set(shipped) == {"face_mobilenet.safetensors", "mask_mobilenet.safetensors", "mask_resnet18.safetensors"}
    own = tmp_path / "own.xml"
    own.write_text("graph")
    (tmp_path / "own.bin").write_text("weights")
    chosen = {"classifier.name": "mask_mobilenet", "detector.weights": str(own), "precision": "float32"}
    before = weights_hashes(config(chosen))
    assert set(before) == {"own.xml", "own.bin", "mask_mobilenet.safetensors"}
    (tmp_path / "own.bin").write_text("other weights")
    assert weights_hashes(config(chosen)) != before


def test_hashes_contain_the_quantised_graphs_where_they_are_used(tmp_path: Path) -> None:
    weights = tmp_path / "own.safetensors"
    shutil.copy(ROOT / "weights" / "face_mobilenet.safetensors", weights)
    graph = int8_graph_path(weights)
    graph.write_text("graph")
    graph.with_suffix(".bin").write_text("weights")
    names = {weights.name, graph.name, graph.with_suffix(".bin").name}
    chosen = {"detector.weights": str(weights)}
    before = weights_hashes(config({**chosen, "precision": "int8"}))
    assert names <= before.keys()
    assert names & weights_hashes(config({**chosen, "precision": "float32"})).keys() == {weights.name}
    assert (graph.name in weights_hashes(config(chosen))) is has_fast_int8()
    graph.write_text("another graph")
    assert weights_hashes(config({**chosen, "precision": "int8"})) != before


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"a": "1", "b": "3"}, "b: not the weights of the command; copy them to all machines"),
        ({"a": "1"}, "b: only the machine of the command uses it; copy the weights to all machines, or set precision to float32"),
        ({"a": "1", "b": "2", "c": "3"}, "c: only this machine uses it; copy the weights"),
    ],
)
def test_machines_with_other_weights_are_refused(own: dict[str, str], message: str) -> None:
    wanted = {"b": "2", "a": "1"}
    require_same_weights(dict(sorted(wanted.items())), wanted)
    with pytest.raises(ModelError, match=message):
        require_same_weights(own, wanted)
