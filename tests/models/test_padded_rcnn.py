"""Keypoint R-CNN with fixed shapes: the results of torchvision, and no wait for the device within a batch."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from loguru import logger
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models.detection import KeypointRCNN

from maskstream.benchmark.gpu_speed import random_weights
from maskstream.config.loading import Layer, refine
from maskstream.config.schema import Config
from maskstream.config.values import Execution, Precision
from maskstream.errors import ConfigError, OutOfMemory
from maskstream.inference.pipeline import require_models
from maskstream.models import coco_resnet50, cuda_graphs, face_mobilenet, padded_batches
from maskstream.models.cuda_graphs import GraphedRCNN
from maskstream.models.keypoint_rcnn import KeypointRCNNDetector
from maskstream.models.options import DetectorOptions
from maskstream.models.padded_batches import BATCH_SIZES
from maskstream.models.padded_boxes import at_least
from maskstream.models.padded_rcnn import PaddedFaces, PaddedRCNN
from maskstream.types import BgrImage, Detection, Frame

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
Load = Callable[[Execution, Precision], KeypointRCNNDetector]


def load_face(execution: Execution, precision: Precision = "float32", max_faces: int = 100) -> KeypointRCNNDetector:
    options = DetectorOptions("cpu", 0.05, max_faces, short_side=256, precision=precision, execution=execution)
    detector = face_mobilenet.load(options)
    assert isinstance(detector, KeypointRCNNDetector)
    return detector


def load_graphed(execution: Execution = "cuda_graphs", device: str = "cuda") -> KeypointRCNNDetector:
    detector = face_mobilenet.load(DetectorOptions(device, 0.05, 100, short_side=256, execution=execution))
    assert isinstance(detector, KeypointRCNNDetector)
    return detector


@pytest.fixture(scope="module")
def load_coco(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """With random weights, it finds `max_faces` persons in each image."""
    weights = random_weights(tmp_path_factory.mktemp("coco"))

    def load(execution: Execution, precision: Precision) -> KeypointRCNNDetector:
        options = DetectorOptions("cpu", 0.0, 12, short_side=96, weights=str(weights), precision=precision, execution=execution)
        detector = coco_resnet50.load(options)
        assert isinstance(detector, KeypointRCNNDetector)
        return detector

    return load


@pytest.fixture(scope="module")
def images(demo_frames: list[Frame]) -> list[BgrImage]:
    """Of several sizes: some with faces, one without, one that the network does not run on, one with many faces."""
    bgr = [demo_frames[at].bgr for at in (0, 20)]
    cut = np.ascontiguousarray(bgr[0][:, :401])
    crowd = np.vstack([np.hstack([bgr[0]] * 3)] * 3)
    return [bgr[0], np.zeros((50, 70, 3), np.uint8), cut, np.zeros((2000, 1, 3), np.uint8), crowd, bgr[1]]


def require_same(found: Sequence[Sequence[Detection]], expected: Sequence[Sequence[Detection]]) -> None:
    assert [len(each) for each in found] == [len(each) for each in expected]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one.box_xyxy == pytest.approx(other.box_xyxy, abs=1e-3)
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.keypoints_xy == pytest.approx(other.keypoints_xy, abs=1e-2)
        assert one.keypoint_scores == pytest.approx(other.keypoint_scores, abs=1e-4)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_faces_are_those_of_dynamic_shapes(images: list[BgrImage], precision: Precision) -> None:
    found, expected = (load_face(execution, precision).detect(images) for execution in ("padded", "dynamic"))
    require_same(found, expected)
    assert [len(each) for each in found][1:4:2] == [0, 0]
    assert len(found[4]) > len(found[0]) > 0


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_persons_are_those_of_dynamic_shapes(load_coco: Load, images: list[BgrImage], precision: Precision) -> None:
    found, expected = (load_coco(execution, precision).detect(images[:2]) for execution in ("padded", "dynamic"))
    require_same(found, expected)
    assert len(found[0]) == len(found[1]) == 12


def test_few_faces_are_the_best_ones_and_admit_raises_their_number(images: list[BgrImage]) -> None:
    padded, dynamic = load_face("padded", max_faces=2), load_face("dynamic", max_faces=2)
    for _ in range(2):
        require_same(padded.detect(images), dynamic.detect(images))
        for detector in (padded, dynamic):
            detector.admit(0.01, 150)
    assert len(padded.detect(images[4:5])[0]) > 2


def test_a_long_chain_of_suppression_is_finished(images: list[BgrImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """With one round, most batches are not finished: they are computed again with all rounds."""
    expected = load_face("dynamic").detect(images[:1])
    monkeypatch.setattr(PaddedRCNN.find_faces, "__defaults__", (1,))
    require_same(load_face("padded").detect(images[:1]), expected)


def test_many_images_are_batches_of_few_sizes(images: list[BgrImage], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(padded_batches, "BATCH_SIZES", (1, 2, 4))
    detector, sizes = load_face("padded"), []
    detector.module.backbone.register_forward_hook(lambda module, given, levels: sizes.append(len(given[0])))
    found = detector.detect([images[0]] * 7)
    assert sizes == [4, 4]
    require_same(found, [found[0]] * 7)
    assert [at_least(count, BATCH_SIZES) for count in (1, 3, 9, 32)] == [1, 4, 16, 32]


def test_more_faces_than_the_largest_number_are_one_more_number(images: list[BgrImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """A number for each crowd would be a CUDA graph for each."""
    monkeypatch.setattr(padded_batches, "FACE_SLOTS", (1, 2))
    numbers, original = [], PaddedRCNN.find_keypoints

    def counted(network: PaddedRCNN, faces: PaddedFaces, width: int, slots: int) -> torch.Tensor:
        numbers.append(slots)
        return original(network, faces, width, slots)

    monkeypatch.setattr(PaddedRCNN, "find_keypoints", counted)
    detector, expected = load_face("padded"), load_face("dynamic").detect(images)
    assert len(expected[4]) > len(expected[0]) > 2
    for index in (0, 4):
        require_same(detector.detect(images[index : index + 1]), expected[index : index + 1])
    assert numbers == [100, 100]


def test_the_loader_warms_up_each_batch_size(images: list[BgrImage], monkeypatch: pytest.MonkeyPatch) -> None:
    """And not where a size does not fit in the memory."""
    shapes, original = [], PaddedRCNN.find_faces

    def counted(network: PaddedRCNN, rgb: torch.Tensor, *others: Any) -> PaddedFaces:
        shapes.append(tuple(rgb.shape))
        if len(rgb) > 4:
            raise torch.OutOfMemoryError("no memory")
        return original(network, rgb, *others)

    monkeypatch.setattr(PaddedRCNN, "find_faces", counted)
    options = DetectorOptions("cpu", 0.05, 100, short_side=128, execution="padded", warm_up=3)
    face_mobilenet.load(options)
    assert shapes == [(count, 3, 128, 256) for count in (1, 2, 4)]
    detector = face_mobilenet.load(replace(options, warm_up=100))
    assert shapes[3:] == [(count, 3, 128, 256) for count in (1, 2, 4, 8)]
    assert detector.detect(images[:1])[0]


def test_where_no_graph_can_be_recorded_padded_shapes_are_used(images: list[BgrImage]) -> None:
    """On this machine PyTorch itself refuses, as where a driver is too old."""
    if torch.cuda.is_available():
        pytest.skip("graphs can be recorded here; tools/gpu_check.py compares them")
    lines: list[str] = []
    handler = logger.add(lines.append, level="WARNING", format="{message}")
    graphed = load_face("cuda_graphs")
    require_same(graphed.detect(images), load_face("padded").detect(images))
    graphed.detect(images[:2])
    logger.remove(handler)
    assert len(lines) == 1
    assert lines[0].startswith("detector.execution: cuda_graphs is not possible here (")
    assert lines[0].endswith("); padded is used instead\n")


def broken_recording(cause: RuntimeError) -> Callable[..., Any]:
    """As in `torch.cuda.graph`: a step of the recording fails, and so does its end, with an error that does not say why."""

    def record(*_: Any) -> None:
        try:
            raise cause
        finally:
            raise torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture\nCompile with ...")

    return record


def test_the_reason_is_the_step_that_failed_in_a_recording(images: list[BgrImage], monkeypatch: pytest.MonkeyPatch) -> None:
    cause = RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")
    monkeypatch.setattr(cuda_graphs, "_Recorded", broken_recording(cause))
    lines: list[str] = []
    handler = logger.add(lines.append, level="DEBUG", format="{level} {message}")
    found = load_face("cuda_graphs").detect(images[:1])
    logger.remove(handler)
    require_same(found, load_face("padded").detect(images[:1]))
    reason = "CUDA error: operation not permitted when stream is capturing"
    said = [line for line in lines if "detector.execution" in line]
    assert said[0] == f"WARNING detector.execution: cuda_graphs is not possible here ({reason}); padded is used instead\n"
    assert said[1].startswith("DEBUG detector.execution: Traceback")
    assert "raise cause" in said[1]  # the log of the program, if it has been started in this process, has no line breaks
    assert f"RuntimeError: {reason}" in said[1]
    assert len(said) == 2


def test_memory_that_ends_in_a_recording_is_no_reason_to_record_no_more(
    images: list[BgrImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream retries with smaller batches, and records those. They have the memory of the graphs of larger ones."""
    detector = load_face("cuda_graphs")
    network = detector._padded._network if detector._padded else None
    assert isinstance(network, GraphedRCNN)
    with monkeypatch.context() as patched:
        patched.setattr(cuda_graphs, "_Recorded", OnTheCpu)
        detector.detect(images[:1] * 2)
        assert len(network._shapes) == 1
    for cause in (torch.OutOfMemoryError("CUDA out of memory. Tried ..."), torch.AcceleratorError("CUDA error: out of memory")):
        monkeypatch.setattr(cuda_graphs, "_Recorded", broken_recording(cause))
        with pytest.raises(OutOfMemory, match="out of memory: CUDA"):
            detector.detect(images[:1])
        assert network._shapes == {}
    recorded: list[Any] = []
    monkeypatch.setattr(cuda_graphs, "_Recorded", lambda *given: recorded.append(given) or broken_recording(cause)())
    with pytest.raises(OutOfMemory):
        detector.detect(images[:1])
    assert len(recorded) == 1


class OnTheCpu:
    """As a CUDA graph: a replay computes from the present values of the inputs, and writes into the outputs of the recording."""

    def __init__(self, call: Callable[..., Any], inputs: tuple[torch.Tensor, ...], _other: Any) -> None:
        self.inputs, self._call, self.outputs = inputs, call, call(*inputs)
        for tensor in self._tensors(self.outputs):
            tensor.fill_(torch.nan)  # a recording computes nothing

    @staticmethod
    def _tensors(outputs: Any) -> list[torch.Tensor]:
        return tree_leaves(list(vars(outputs).values()) if isinstance(outputs, PaddedFaces) else outputs)

    def replay(self) -> Any:
        for kept, computed in zip(self._tensors(self.outputs), self._tensors(self._call(*self.inputs)), strict=True):
            kept.copy_(computed)
        return self.outputs


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
def test_replayed_graphs_find_the_faces_of_each_batch(
    images: list[BgrImage], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call of a shape records it; later ones replay it with other images and numbers of faces."""
    if device == "cpu":
        monkeypatch.setattr(cuda_graphs, "_Recorded", OnTheCpu)
    graphed, padded = load_graphed("cuda_graphs", device), load_graphed("padded", device)
    assert graphed._padded is not None
    for batch in ([images[0]], [images[5]], [images[4]], [images[0], images[5]], [images[5], images[0]], [images[0]]):
        require_same(graphed.detect(batch), padded.detect(batch))
    network = graphed._padded._network
    assert isinstance(network, GraphedRCNN)
    assert len(network._shapes) >= 2
    graphed.admit(0.01, 150)
    padded.admit(0.01, 150)
    require_same(graphed.detect(images[:1]), padded.detect(images[:1]))


@needs_gpu
def test_a_recording_that_fails_leaves_the_thread_as_it_was(images: list[BgrImage]) -> None:
    """A value that is read within a recording breaks it. What follows runs in the same stream, and finds the same faces."""
    detector = load_graphed()

    def read_a_value(_module: Any, _given: Any, levels: dict[str, torch.Tensor]) -> None:
        levels["0"].sum().item()

    detector.module.backbone.register_forward_hook(read_a_value)
    before = torch.cuda.current_stream()
    lines: list[str] = []
    handler = logger.add(lines.append, level="WARNING", format="{message}")
    found = [detector.detect(images[:1]) for _ in range(2)]
    logger.remove(handler)
    assert torch.cuda.current_stream() == before
    assert len(lines) == 1
    assert "capturing" in lines[0]
    for each in found:
        require_same(each, load_graphed("padded").detect(images[:1]))


@needs_gpu
def test_graphs_share_memory(images: list[BgrImage]) -> None:
    """That of one pool, which is divided by the streams of the recordings: all have the same."""
    detector = load_graphed()
    for size in (1, 2, 4):
        detector.detect(images[:1] * size)
    network = detector._padded._network if detector._padded else None
    assert isinstance(network, GraphedRCNN)
    graphs = [each for shape in network._shapes.values() for each in (shape.faces, *shape.keypoints.values())]
    assert len(graphs) == 6
    assert len({each._graph.pool() for each in graphs}) == 1
    assert len({each._stream.cuda_stream for each in graphs}) == 1


@needs_gpu
def test_two_networks_record_in_two_threads(images: list[BgrImage]) -> None:
    detectors = [load_graphed() for _ in range(2)]
    padded = load_graphed("padded")
    with ThreadPoolExecutor(2) as pool:
        for batch in (images[:1] * size for size in (1, 2, 4, 8)):
            for found in pool.map(lambda detector, batch=batch: detector.detect(batch), detectors):
                require_same(found, padded.detect(batch))
    for detector in detectors:
        network = detector._padded._network if detector._padded else None
        assert isinstance(network, GraphedRCNN)
        assert len(network._shapes) == 4


def test_cuda_graphs_are_refused_on_other_devices(config: Config) -> None:
    wanted = refine(config, Layer("test", {"device": "cpu", "detector": {"execution": "cuda_graphs"}}))
    with pytest.raises(
        ConfigError, match=r"detector\.execution: cuda_graphs needs a CUDA GPU, not cpu; choose padded or dynamic"
    ):
        require_models(wanted)


def test_an_image_with_infinite_features_is_marked_and_the_others_are_not(images: list[BgrImage]) -> None:
    detector = load_face("padded")
    expected = detector.detect(images[:1])[0]
    detector.module.backbone.register_forward_hook(
        lambda module, given, levels: {name: torch.cat([level[:1], level[1:] * torch.inf]) for name, level in levels.items()}
    )
    fine, broken = detector.detect([images[0]] * 2)
    require_same([fine], [expected])
    assert [np.isnan(each.score) for each in broken] == [True]


class _Transfers(TorchDispatchMode):
    """Collects the operations with tensors on several devices."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [each for each in tree_leaves((args, kwargs, result)) if isinstance(each, torch.Tensor)]
        if len({each.device for each in tensors}) > 1:
            self.names.append(str(func))
        return result


@contextmanager
def _fake_gpu(module: KeypointRCNN) -> Iterator[_Transfers]:
    """Let the module be on a GPU that computes shapes only: what depends on a value there is an error."""
    with FakeTensorMode(allow_non_fake_inputs=False) as mode, torch.inference_mode():
        for part in module.modules():
            for name, tensor in list(part.named_parameters(recurse=False)):
                part.register_parameter(name, torch.nn.Parameter(mode.from_tensor(tensor).to("cuda"), requires_grad=False))
            for name, tensor in list(part.named_buffers(recurse=False)):
                part.register_buffer(name, mode.from_tensor(tensor).to("cuda"))
        anchors = module.rpn.anchor_generator
        anchors.cell_anchors = [mode.from_tensor(each).to("cuda") for each in anchors.cell_anchors]
        with _Transfers() as transfers:
            yield transfers


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_no_step_of_a_batch_waits_for_the_device(precision: Precision) -> None:
    """On a GPU without values: a shape or a branch that depends on a value is an error, and there is no copy to the host."""
    detector = load_face("padded", precision)
    heads = detector.module.roi_heads
    with _fake_gpu(detector.module) as transfers:
        network = PaddedRCNN(detector.module, detector._to_heatmaps)
        transfers.names.clear()
        faces = network.find_faces(torch.zeros(4, 3, 256, 320, device="cuda"), torch.zeros(4, 2, device="cuda"))
        points = network.find_keypoints(faces, 320, 8)
        assert (faces.boxes.device.type, tuple(faces.boxes.shape), tuple(points.shape)) == ("cuda", (4, 100, 4), (8, 9))
        assert transfers.names == []  # nor to the device: that of a constant cannot be recorded
        torch.zeros(1).to("cuda")
        faces.summary.cpu()
        assert len(transfers.names) == 2  # so this test can fail
        levels = dict(zip(heads.box_roi_pool.featmap_names, faces.levels, strict=True))
        with pytest.raises(DynamicOutputShapeException):
            heads.box_roi_pool(levels, list(faces.boxes), [(256, 320)] * 4)
