"""Build the workloads of a benchmark: parts of the program, the complete program, and other programs with the same task."""

from collections.abc import Callable, Sequence
from contextlib import closing
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18
from torchvision.models.detection import keypointrcnn_resnet50_fpn
from torchvision.transforms.functional import normalize, to_tensor

from maskstream.benchmark.bench import Bench
from maskstream.benchmark.rounds import Workload
from maskstream.config.loading import Layer, refine
from maskstream.errors import ConfigError
from maskstream.evaluation.yolo_detector import contained
from maskstream.inference.pipeline import build_detector
from maskstream.models import CROP_ARCHITECTURES, face_mobilenet, face_mobilenet_network, mask_mobilenet
from maskstream.models.checkpoint import load_checkpoint
from maskstream.models.classifier_choice import pick_classifier
from maskstream.models.crop_classifier import crops_to_tensor
from maskstream.models.devices import CPU
from maskstream.models.keypoint_rcnn import to_rgb_tensor
from maskstream.models.weights_path import weights_path
from maskstream.sinks import VideoSink
from maskstream.sources import FileSource
from maskstream.types import BgrImage, Detection, Frame, FrameResult, Output
from maskstream.vision.align import AlignRules, crop_quad, cut_faces

_IMAGENET_MEAN, _IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_PAPER_SHORT_SIDE = 800
_PAPER_CROP_PX = 224
_YOLO_YAML = "yolo11n-pose.yaml"


def bare(bench: Bench) -> Workload:
    """Return detector and classifier alone, on decoded frames, batch after batch, as a program calls them."""
    return Workload("bare", "detector and classifier alone, on all decoded frames", lambda: len(bench.analyse()))


def overlapping(bench: Bench) -> Workload:
    """Return detector and classifier alone, with two batches in flight: the upper limit for the complete program."""
    return Workload("overlapping", "the same, with two batches in flight", lambda: len(bench.analyse_overlapping()))


def pipeline(bench: Bench) -> Workload:
    """Return the complete program without video output, with the detector on every frame."""
    return Workload("pipeline", "the complete program, every frame, without video output", lambda: len(bench.stream()[0].results))


def default(bench: Bench) -> Workload:
    """Return the complete program with the configured `detector.every`, without video output."""
    what = f"the complete program, detector.every {bench.every}, without video output"
    return Workload("default", what, lambda: len(bench.stream(every=bench.every)[0].results))


def pipeline_with_video(bench: Bench) -> Workload:
    """Return the complete program with video output, with the detector on every frame."""

    def run() -> int:
        with TemporaryDirectory() as folder:
            return len(bench.stream(f"{folder}/out.mp4")[0].results)

    return Workload("pipeline_video", "the complete program, every frame, with video output", run)


def decode(bench: Bench) -> Workload:
    """Return decoding alone."""

    def run() -> int:
        with closing(FileSource(bench.path)) as source:
            return sum(1 for _ in zip(source, range(len(bench.frames)), strict=False))

    return Workload("decode", "decoding alone", run)


def encode(bench: Bench) -> Workload:
    """Return encoding alone, of frames without faces."""

    def run() -> int:
        with TemporaryDirectory() as folder, closing(VideoSink(f"{folder}/out.mp4", bench.info, bench.config.video)) as sink:
            for frame in bench.frames:
                empty = FrameResult(frame.source_id, frame.index, frame.time_s, ())
                sink.write(Output(frame, empty, True, lambda frame, _: frame.bgr))
        return len(bench.frames)

    return Workload("encode", "encoding alone", run)


def opencv_loop(bench: Bench) -> Workload:
    """Return a simple loop: OpenCV reads a frame, our models analyse it, in one thread."""

    def run() -> int:
        capture = cv2.VideoCapture(bench.path)
        count = 0
        while count < len(bench.frames):
            has_frame, bgr = capture.read()
            if not has_frame:
                break
            bench.analyzer.analyze([Frame(np.asarray(bgr, np.uint8), count, bench.path, count / 25)])
            count += 1
        capture.release()
        return count

    return Workload("opencv_loop", "cv2.VideoCapture and our models in one thread", run)


def paper(bench: Bench, frames: int) -> Workload:
    """Return the loop of the paper with random weights: frame by frame and face by face, with PIL.

    It classifies as many faces as our models find.
    """
    faces = [len(result.faces) for result in bench.analyzer.analyze(bench.frames[:frames])]
    detector = keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None, min_size=_PAPER_SHORT_SIDE).eval()
    classifier = resnet18(weights=None, num_classes=2).eval()

    @torch.no_grad()
    def run() -> int:
        for frame, count in zip(bench.frames[:frames], faces, strict=True):
            image = Image.fromarray(cv2.cvtColor(frame.bgr, cv2.COLOR_BGR2RGB))
            detector([to_tensor(image)])
            for _ in range(count):
                face = image.rotate(5).crop((0, 0, _PAPER_CROP_PX, _PAPER_CROP_PX)).resize((_PAPER_CROP_PX, _PAPER_CROP_PX))
                classifier(normalize(to_tensor(face), _IMAGENET_MEAN, _IMAGENET_STD)[None])
        return frames

    return Workload("paper", f"Keypoint R-CNN ResNet-50 at {_PAPER_SHORT_SIDE} px, ResNet-18 face by face, PIL", run)


def backend(bench: Bench, name: str) -> Workload:
    """Return detector and classifier alone with one backend."""
    chosen = Layer("--compare backends", {"detector": {"backend": name}, "classifier": {"backend": name}})
    other = Bench(bench.path, len(bench.frames), refine(bench.config, chosen))
    return Workload(f"bare_{name}", f"detector and classifier alone, with {name}", lambda: len(other.analyse()))


def classifier(bench: Bench, name: str) -> Workload:
    """Return the complete program with the shipped weights of a classifier, with the configured `detector.every`."""
    chosen = Layer("--compare classifiers", {"classifier": {"name": name, "weights": None}})
    other = Bench(bench.path, len(bench.frames), refine(bench.config, chosen))
    what = f"the complete program with {name}, detector.every {bench.every}"
    return Workload(f"default_{name}", what, lambda: len(other.stream(every=bench.every)[0].results))


def torchvision_eager(bench: Bench) -> Workload:
    """Return the same networks with the forward pass of torchvision, without changes of batch norm and memory layout."""
    detector_weights, metadata = load_checkpoint(weights_path(None, f"{face_mobilenet.NAME}.safetensors"), face_mobilenet.NAME)
    detector = face_mobilenet_network.build_module()
    detector.load_state_dict(detector_weights)
    detector.roi_heads.score_thresh = bench.config.detector.min_score
    chosen = pick_classifier(bench.config.classifier.name, None, CPU)
    architecture = CROP_ARCHITECTURES.get(chosen, mask_mobilenet.ARCHITECTURE)
    state_dict, about = load_checkpoint(weights_path(None, f"{architecture.name}.safetensors"), architecture.name)
    classifier = architecture.restore(state_dict, about, architecture.name).eval()
    detector.eval()
    cpu = torch.device("cpu")

    @torch.inference_mode()
    def classify(bgr: BgrImage) -> None:
        (found,) = detector([to_rgb_tensor(bgr, cpu)])
        quads = []
        for box, points in zip(found["boxes"].numpy(), found["keypoints"].numpy(), strict=True):
            detection = Detection(box, 1.0, points[:, :2], np.ones(len(points), np.float32), metadata.keypoint_names)
            quads.append(crop_quad(detection, box, AlignRules(1.0, 0.5)))
        crops = cut_faces([bgr], [[quad for quad in quads if quad is not None]], about.input_size)
        if crops:
            classifier(crops_to_tensor(crops, cpu)).softmax(1)

    return Workload("bare_torchvision", "the same networks in torchvision", _over(bench.frames, classify))


def detector_eager(bench: Bench) -> Workload:
    """Return our detector from image to keypoints, in eager PyTorch."""
    detector = build_detector(refine(bench.config, Layer("--compare yolo", {"detector": {"backend": "torch"}})))
    run = _over(bench.frames, lambda bgr: detector.detect([bgr]))
    return Workload("detector_eager", "our detector from image to keypoints, eager PyTorch", run)


def yolo_forward(bench: Bench, short_side: int) -> Workload:
    """Return YOLO11n-pose with random weights, in eager PyTorch, on frames with the same short side.

    Raises:
        ConfigError: Ultralytics is not installed.
    """
    with contained():
        try:
            from ultralytics.nn.tasks import PoseModel
        except ImportError as error:
            raise ConfigError("--compare yolo needs ultralytics; pip install -r requirements-yolo.txt") from error
        model = PoseModel(_YOLO_YAML, verbose=False).eval().fuse(verbose=False)
    stride = 32

    @torch.inference_mode()
    def forward(bgr: BgrImage) -> None:
        scale = short_side / min(bgr.shape[:2])
        height, width = (round(side * scale / stride) * stride for side in bgr.shape[:2])
        scaled = cv2.resize(bgr, (width, height))
        model(torch.from_numpy(np.ascontiguousarray(scaled[..., ::-1].transpose(2, 0, 1)))[None].float().div_(255))

    return Workload("yolo11n_pose", "the network of YOLO11n-pose, eager PyTorch, random weights", _over(bench.frames, forward))


def _over(frames: Sequence[Frame], forward: Callable[[BgrImage], object]) -> Callable[[], int]:
    def run() -> int:
        for frame in frames:
            forward(frame.bgr)
        return len(frames)

    return run
