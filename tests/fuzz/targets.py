"""What reads files, and whole files for it, as small as they can be."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from maskstream.errors import MaskStreamError
from tests.command_lines import ROOT

MB: Final = 2**20


@dataclass(frozen=True)
class Target:
    """A reader of files."""

    write: Callable[[Path], None]
    """Makes whole files in an empty folder: each is damaged in its turn."""
    read: Callable[[Path, str], object]
    """Reads the folder, in which the file of this name is damaged."""
    spared: tuple[str, ...] = ()
    """Files that are there for the others and are never damaged: ends of their names."""
    errors: tuple[type[Exception], ...] = (MaskStreamError,)
    """How reading may end."""
    memory_mb: int = 600
    """Most memory that it may take for one of them."""
    cpu_s: int = 30


def _images(folder: Path) -> None:
    from PIL import Image

    from maskstream.io.image_formats import WRITABLE_SUFFIXES

    image = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3).astype(np.uint8)
    colour = Image.fromarray(image)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "turned"
    for suffix in WRITABLE_SUFFIXES:
        with_exif = {"exif": exif} if suffix in (".jpg", ".webp", ".png", ".avif") else {}
        colour.save(folder / f"colour{suffix}", **with_exif)
    colour.convert("P").save(folder / "palette.png", transparency=3)
    colour.convert("CMYK").save(folder / "printed.jpg")
    colour.save(folder / "progressive.jpg", progressive=True, quality=30)
    Image.fromarray(image[..., 0].astype(np.uint16) * 200).save(folder / "deep.png")
    Image.fromarray(image[..., 0].astype(np.float32)).save(folder / "float.tif")
    colour.convert("RGBA").save(folder / "packed.tif", compression="tiff_deflate")
    colour.convert("1").save(folder / "bits.bmp")
    for name, kind in (
        ("pages.tif", "TIFF"),
        ("moving.png", "PNG"),
        ("moving.webp", "WEBP"),
        ("eyes.jpg", "MPO"),
        ("eyes", "MPO"),
    ):
        colour.save(folder / name, kind, save_all=True, append_images=[colour.rotate(180)])


def _read_image(folder: Path, name: str) -> object:
    from maskstream.errors import SourceError
    from maskstream.io.images import image_size, read_image
    from maskstream.sources import source_kind
    from maskstream.sources.images import read_within

    kind = source_kind(str(folder / name))
    with suppress(SourceError):
        image_size(str(folder / name))
    with suppress(SourceError):
        read_within((folder / name).read_bytes(), max_megapixels=64, setting="network.max_megapixels")
    return kind, read_image(str(folder / name)).shape


def _labels(folder: Path) -> None:
    from maskstream.io.images import write_image
    from tests.annotations.made import coco, voc, vott, yolo

    faces = {"a.png": [("mask", (10, 10, 40, 50)), ("no_mask", (50, 20, 80, 60))], "b.png": [("mask", (1.5, 2.5, 30, 40))]}
    for kind in ("images", "voc", "vott", "coco", "yolo", "people"):
        (folder / kind).mkdir()
    for name, listed in faces.items():
        write_image(folder / "images" / name, np.zeros((80, 100, 3), np.uint8))
        stem = Path(name).stem
        (folder / "voc" / f"{stem}.xml").write_text(
            voc(listed, filename=name, size=(100, 80), further="<difficult>0</difficult>")
        )
        (folder / "vott" / f"{stem}.json").write_text(json.dumps(vott(name, listed, size={"width": 100, "height": 80})))
        (folder / "yolo" / f"{stem}.txt").write_text(yolo(listed, ["mask", "no_mask"]))
    labelled = coco(faces, width=100, height=80)
    labelled["categories"][0]["keypoints"] = ["nose", "left_eye", "right_eye"]
    labelled["annotations"][0] |= {"keypoints": [25, 30, 2, 30, 25, 2, 20, 25, 1], "mask": "mask", "ignore": 0, "iscrowd": 0}
    (folder / "coco" / "labels.json").write_text(json.dumps(labelled))
    people = {"every": 5, "people": {"left": {"centre_xy": [20, 30.5], "changes": [[0, "mask"], [40, None]]}}}
    (folder / "people" / "people.json").write_text(json.dumps(people))
    (folder / "yolo" / "classes.txt").write_text("mask\nno_mask\n")
    (folder / "yolo" / "data.yaml").write_text("names: {0: mask, 1: no_mask}\nnc: 2\n")


def _read_labels(folder: Path, name: str) -> object:
    from maskstream.annotations import ReadOptions, read_annotations
    from maskstream.evaluation.tracking_metrics import PeopleLabels

    if name.startswith("people"):
        return PeopleLabels.read(folder / name)
    return read_annotations(
        folder / "images", folder / Path(name).parts[0], ReadOptions(_config().evaluation.labels)
    ).count_problems()


def _settings(folder: Path) -> None:
    for name in ("default", "coco", "train_detector", "train_classifier"):
        text = (ROOT / "configs" / f"{name}.yaml").read_text()
        short = "\n".join(line.partition("  #")[0] for line in text.splitlines() if not line.lstrip().startswith("#"))
        (folder / f"{name}.yaml").write_text(short)
    (folder / "site.yaml").write_text(
        "detector: {min_score: 0.7, every: 1}\nevents:\n  mqtt: mqtt://me:secret@192.0.2.20:1883\n"
        "  webhooks:\n    - url: https://192.0.2.21/masks\n      secret: abc\nzones:\n  door: [[0, 0], [0.5, 0], [0.5, 1]]\n"
    )


def _read_settings(folder: Path, name: str) -> object:
    from maskstream.config.loading import load_config, load_settings
    from maskstream.training.recipe import ClassifierRecipe, DetectorRecipe

    recipes: Mapping[str, Any] = {"train_detector.yaml": DetectorRecipe, "train_classifier.yaml": ClassifierRecipe}
    if name in recipes:
        return load_settings(recipes[name], folder / name, ())
    return load_config(folder / name)


def _cameras(folder: Path) -> None:
    listed = (ROOT / "configs" / "cameras.yaml").read_text()
    (folder / "cameras.yaml").write_text(re.sub(r"\$\{\w+\}", "${HOME}", listed))
    (folder / "two.yaml").write_text(
        "- name: entrance\n  url: rtsp://${HOME}:${HOME}@192.0.2.10:554/stream1\n  detector: {min_score: 0.8}\n"
        "  zones:\n    door: [[0.2, 0.1], [0.6, 0.1], [0.6, 1], [0.2, 1]]\n  privacy: {blur: unmasked}\n"
        "- name: hall\n  url: 0\n  network: {transport: udp, open_timeout_s: 5}\n- {name: lab, url: clip.mp4}\n"
    )


def _read_cameras(folder: Path, name: str) -> object:
    from maskstream.config.cameras import read_cameras

    return [repr(camera) for camera in read_cameras([str(folder / name)], _config())]


def _sites(folder: Path) -> None:
    (folder / "site.yaml").write_text((ROOT / "configs" / "site.yaml").read_text() + "folder: state\n")
    _cameras(folder)


def _read_site(folder: Path, name: str) -> object:
    from maskstream.fleet.site import files_of, read_site

    files_of(folder / "site.yaml")
    return repr(read_site(folder / "site.yaml", _config()))


def _predictions(folder: Path) -> None:
    from maskstream.io.images import write_image
    from tests.annotations.made import coco

    (folder / "images").mkdir()
    write_image(folder / "images" / "a.png", np.zeros((80, 100, 3), np.uint8))
    faces = {"a.png": [("mask", (10, 10, 40, 50)), ("no_mask", (50, 20, 80, 60))]}
    (folder / "labels.json").write_text(json.dumps(coco(faces, width=100, height=80)))
    box = {"x1": 10.0, "y1": 10.0, "x2": 40.0, "y2": 50.0}
    face = {"label": "mask", "confidence": 0.9, "score": 0.8, "box": box, "keypoints": {"nose": [25, 30, 0.9]}}
    image = {"file": "a.png", "width": 100, "height": 80, "faces": [face, {**face, "label": "no_mask", "score": 0.5}]}
    head = {"system": {"name": "maskstream", "weights": {}}, "box": "face", "min_score": 0.5, "score_floor": 0.05}
    whole = {"kind": "maskstream predictions", **head, "pictures": [image]}
    (folder / "predictions.json").write_text(json.dumps(whole))
    record = {"source": "images", "frame": 0, "time_s": 0.0, **image, "file": "images/a.png"}
    (folder / "records.jsonl").write_text(f"{json.dumps(record)}\n")
    lines = [{"fingerprint": "same"}, {"stamp": [1, 2], "record": {**image, "file": "a.png"}}]
    (folder / "journal.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    results = [{"image_id": 1, "category_id": 1, "bbox": [10, 10, 30, 40], "score": 0.8}] * 2
    (folder / "results.json").write_text(json.dumps(results))


def _read_predictions(folder: Path, name: str) -> object:
    """Read predictions and score them, as an evaluation does."""
    from maskstream.annotations import ReadOptions, read_annotations
    from maskstream.evaluation.analysis import Journal
    from maskstream.evaluation.prediction_files import read_predictions
    from maskstream.evaluation.predictions import from_record
    from maskstream.evaluation.scoring import ScoreSettings, score

    if name == "journal.jsonl":
        with Journal(folder / name, "same") as journal:
            return [from_record(record) for record in journal.records.values()]
    meanings = _config().evaluation.labels
    annotations = read_annotations(folder / "images", folder / "labels.json", ReadOptions(meanings))
    found = read_predictions(folder / name, annotations, meanings, {})
    settings = ScoreSettings(
        box="face",
        predicted_box=found.predicted_box or "face",
        min_score=found.min_score,
        score_floor=found.score_floor,
        iou=0.5,
        incorrect_as="no_mask",
        bootstrap=0,
        group_by=None,
    )
    return json.dumps(score(annotations, found.by_image, settings).metrics.to_json(), allow_nan=False)


def _weights(folder: Path) -> None:
    from safetensors.numpy import save

    from maskstream.models.metadata import TENSORS_SHA256, add_to_manifest, tensors_sha256, to_header
    from tests.toy import TOY_METADATA

    arrays = {"weight": np.linspace(-1, 1, 6, dtype=np.float16).reshape(2, 3), "steps": np.array(7)}
    content = save(arrays, to_header(TOY_METADATA) | {TENSORS_SHA256: tensors_sha256(arrays)})
    (folder / "alone").mkdir()
    (folder / "alone" / "toy.safetensors").write_bytes(content)
    (folder / "toy.safetensors").write_bytes(content)
    add_to_manifest(folder / "toy.safetensors")


def _read_weights(folder: Path, name: str) -> object:
    from maskstream.models.metadata import add_to_manifest, read_checkpoint

    path = folder / name if name.endswith(".safetensors") else folder / "toy.safetensors"
    arrays, metadata = read_checkpoint(path, "toy")
    add_to_manifest(path)
    return len(arrays), metadata


def _results(folder: Path) -> None:
    """What `evaluate --compare` reads."""
    from maskstream.evaluation.outputs import COUNTS_FILE, METRICS_FILE
    from tests.evaluation.made import poor_metrics

    counts = {
        "names": np.array(["a.png"]),
        "one_to_one": np.zeros((1, 19, 5, 5), np.int64),
        "paper": np.zeros((1, 19, 2, 2), np.int64),
    }
    for run in ("one", "other"):
        (folder / run).mkdir()
        (folder / run / METRICS_FILE).write_text(json.dumps(poor_metrics().to_json()))
        np.savez_compressed(folder / run / COUNTS_FILE, **counts)


def _read_results(folder: Path, name: str) -> object:
    from maskstream.evaluation.comparison import compare
    from maskstream.evaluation.outputs import read_run

    comparison = compare([read_run(folder / "one"), read_run(folder / "other")], [0.5], 10)
    return json.dumps(comparison.to_json(), allow_nan=False)


def _containers(folder: Path) -> None:
    from fractions import Fraction

    from tests.video_files import every, write_video

    times_s = every(0.04, 20)
    coarse = {"time_base": Fraction(1, 25)}
    write_video(folder / "clip.mp4", times_s, audio=("aac", 0.0, 0.9))
    write_video(folder / "clip.mov", times_s, audio=("aac", 0.0, 0.9))
    write_video(
        folder / "pieces.mp4", times_s, audio=("aac", 0.5, 0.9), container_options={"movflags": "frag_keyframe+empty_moov"}
    )
    write_video(folder / "clip.mkv", times_s, audio=("libopus", 0.0, 0.9))
    write_video(folder / "clip.webm", times_s, codec="libvpx", audio=("libopus", 0.0, 0.9))
    write_video(folder / "mpeg2.ts", times_s, codec="mpeg2video", **coarse, audio=("mp2", 0.0, 0.9))
    write_video(folder / "clip.ts", times_s, audio=("aac", 0.0, 0.9))
    write_video(folder / "clip.avi", times_s, codec="mpeg4", **coarse, audio=("pcm_s16le", 0.0, 0.9))
    write_video(folder / "clip.flv", times_s, audio=("aac", 0.0, 0.9))
    write_video(folder / "hevc.mp4", times_s, codec="libx265", options={"x265-params": "log-level=none"})
    write_video(folder / "clip.mjpeg", times_s, codec="mjpeg", pix_fmt="yuvj420p", **coarse)
    write_video(folder / "clip.gif", times_s, codec="gif", pix_fmt="rgb8", time_base=Fraction(1, 100))


def _read_container(folder: Path, name: str) -> object:
    """Copy a video through source and sink, as a run does, but not without end."""
    from maskstream.config.schema import VideoConfig
    from maskstream.sinks import VideoSink
    from maskstream.sources import FileSource
    from tests.video_files import output_of

    config = VideoConfig(segment_s=None, crf=40, preset="ultrafast")
    with (
        closing(FileSource(str(folder / name))) as source,
        closing(VideoSink(str(folder / "out.mp4"), source.info, config)) as sink,
    ):
        for frame in islice(source, 100):
            sink.write(output_of(frame))
        sink.source_ended(source.info.source_id)
    return source.info


def _graphs(folder: Path) -> None:
    import onnx

    from maskstream.models.runtimes import read_graph

    node = onnx.helper.make_node("Mul", ["given", "factor"], ["product"])
    given = onnx.helper.make_tensor_value_info("given", onnx.TensorProto.FLOAT, [1, 3])
    product = onnx.helper.make_tensor_value_info("product", onnx.TensorProto.FLOAT, [1, 3])
    factor = onnx.helper.make_tensor("factor", onnx.TensorProto.FLOAT, [1], [2.0])
    graph = onnx.helper.make_graph([node], "doubled", [given], [product], [factor])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (folder / "openvino").mkdir()
    for name in ("openvino/graph.onnx", "graph.onnx"):
        (folder / name).write_bytes(model.SerializeToString())
    read_graph(folder / "openvino" / "graph.onnx", "openvino", folder / "openvino")


def _read_graph(folder: Path, name: str) -> object:
    from maskstream.models.runtimes import read_graph

    backend = "openvino" if name.startswith("openvino") else "onnx"
    return read_graph(folder / Path(name).parent / "graph.onnx", backend, folder / "openvino").metadata


def _config() -> Any:
    from maskstream.config.loading import load_config

    return load_config()


TARGETS: Final = {
    "pictures": Target(_images, _read_image, memory_mb=1500),
    "labels": Target(_labels, _read_labels, spared=(".png",)),
    "settings": Target(_settings, _read_settings),
    "cameras": Target(_cameras, _read_cameras),
    "sites": Target(_sites, _read_site, spared=("two.yaml",)),
    "predictions": Target(_predictions, _read_predictions, spared=(".png", "labels.json")),
    "weights": Target(_weights, _read_weights),
    "results": Target(_results, _read_results),
    "containers": Target(_containers, _read_container, memory_mb=1500),
    "graphs": Target(_graphs, _read_graph, errors=(MaskStreamError, RuntimeError)),
}
