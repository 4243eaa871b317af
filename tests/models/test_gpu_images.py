"""What runs on a GPU, run here on the CPU: the same code on another device."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch

from maskstream.config.loading import Layer, load_config
from maskstream.config.schema import Config
from maskstream.errors import ConfigError
from maskstream.inference.analyzer import Analyzer
from maskstream.inference.pipeline import build_analyzer
from maskstream.models import CLASSIFIERS, ClassifierOptions, DetectorOptions, face_mobilenet
from maskstream.models.gpu_images import DeviceCutter, Uploads, scaled
from maskstream.types import BgrImage, Face, FloatArray, Frame, FrameResult
from maskstream.vision.align import cut_faces

CPU = "cpu"
SIZE = 112


def square(middle: tuple[float, float], side: float, degrees: float = 0) -> FloatArray:
    angle = np.radians(degrees)
    across = np.array([np.cos(angle), np.sin(angle)]) * side / 2
    down = np.array([-across[1], across[0]])
    corners = np.stack([-across - down, across - down, across + down, -across + down])
    return np.asarray(np.array(middle) + corners, np.float32)


QUADS = [
    square((535, 150), 90, 8),
    square((120, 200), 113),
    square((400, 180), 40, -20),
    square((300, 180), 350),
    square((5, 5), 60),
]


def to_rgb(crops_bgr: Sequence[BgrImage]) -> FloatArray:
    return np.stack(crops_bgr)[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32) / 255


def test_faces_are_cut_as_on_the_cpu(demo_frames: list[Frame]) -> None:
    """OpenCV interpolates between places 1/32 pixel apart and rounds to bytes."""
    images = [demo_frames[0].bgr, demo_frames[20].bgr, np.ascontiguousarray(demo_frames[40].bgr[:300, :500])]
    quads = [QUADS, [], QUADS[:2]]
    expected = to_rgb(cut_faces(images, quads, SIZE))
    found = DeviceCutter(Uploads(CPU))(images, quads, SIZE)
    assert isinstance(found, torch.Tensor)
    difference = np.abs(found.numpy() - expected)
    assert found.shape == (7, 3, SIZE, SIZE)
    assert difference.mean(axis=(1, 2, 3)).max() < 0.004
    assert np.quantile(difference, 0.999) < 0.04


def test_faces_of_several_images_are_not_mixed() -> None:
    plain = [np.full((200, 300, 3), (value, 2 * value, 250 - value), np.uint8) for value in (10, 60, 110)]
    found = DeviceCutter(Uploads(CPU))(plain, [[square((150, 100), 80, 5)] * 2] * 3, SIZE)
    expected = np.repeat([[250 - value, 2 * value, value] for value in (10, 60, 110)], 2, axis=0) / 255
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy().mean((2, 3)), expected, atol=1e-5)
    assert float(found.std((2, 3)).max()) < 1e-5


def test_no_faces_are_no_crops(face_bgr: BgrImage) -> None:
    assert len(DeviceCutter(Uploads(CPU))([face_bgr], [[]], SIZE)) == 0


def test_images_are_scaled_as_on_the_cpu(demo_frames: list[Frame]) -> None:
    options = DetectorOptions(CPU, min_score=0.15, max_faces=100)
    host = face_mobilenet.load(options)
    device = face_mobilenet.load(DetectorOptions(CPU, 0.15, 100, uploads=Uploads(CPU)))
    shown = [demo_frames[0].bgr, demo_frames[25].bgr]
    for found, expected in zip(device.detect(shown), host.detect(shown), strict=True):
        assert len(found) == len(expected) > 0
        by_place = [sorted(faces, key=lambda face: face.box_xyxy[0]) for faces in (found, expected)]  # some scores are equal
        for one, other in zip(*by_place, strict=True):
            np.testing.assert_allclose(one.box_xyxy, other.box_xyxy, atol=1)
            np.testing.assert_allclose(one.keypoints_xy, other.keypoints_xy, atol=1)


def test_images_of_several_sizes_keep_their_order() -> None:
    images = [torch.full((20 + 10 * (n % 2), 40, 3), 50 * n, dtype=torch.uint8) for n in range(5)]
    small = scaled(images, [(10, 20)] * 5)
    assert [round(float(each.mean()) * 255) for each in small] == [0, 50, 100, 150, 200]
    assert {tuple(each.shape) for each in small} == {(3, 10, 20)}


class Copies(Uploads):
    """Copies images as on any other device, because a CPU tensor would share their memory. Counts the uploads."""

    sent = 0

    def _upload(self, image_bgr: BgrImage) -> torch.Tensor:
        self.sent += 1
        return super()._upload(image_bgr).clone()


def test_an_image_is_sent_once(face_bgr: BgrImage) -> None:
    uploads = Copies(CPU)
    first, twin = uploads([face_bgr, face_bgr])
    assert uploads.sent == 1
    whole = face_bgr[0:360, 0:640]  # another view of the same bytes
    assert uploads.again([whole])[0] is first is twin
    assert uploads.sent == 1
    uploads([face_bgr])
    part, other = uploads.again([face_bgr[10:, 20:], np.ascontiguousarray(face_bgr[::-1])])
    assert np.array_equal(part.numpy(), face_bgr[10:, 20:])
    assert np.array_equal(other.numpy(), face_bgr[::-1])
    assert uploads.sent == 4


def test_an_array_that_is_filled_again_is_sent_again(face_bgr: BgrImage) -> None:
    uploads, buffer = Copies(CPU), face_bgr.copy()
    cutter = DeviceCutter(uploads)
    for image in (face_bgr, face_bgr[:, ::-1], face_bgr[::-1]):
        buffer[:] = image
        assert np.array_equal(uploads([buffer])[0].numpy(), image)
        for _ in range(2):  # the second time nobody has sent it before
            expected = to_rgb(cut_faces([buffer], [QUADS[:1]], SIZE))
            found = cutter([buffer], [QUADS[:1]], SIZE)
            assert isinstance(found, torch.Tensor)
            assert np.abs(found.numpy() - expected).mean() < 0.004
            buffer[:] = 255 - buffer


def test_a_camera_that_reuses_its_array_gets_the_faces_of_its_image(face_bgr: BgrImage, config: Config) -> None:
    uploads = Copies(CPU)
    detector = face_mobilenet.load(DetectorOptions(CPU, 0.15, 100, uploads=uploads))
    classifier = CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip))
    analyzer = Analyzer(detector, classifier, config, cut=DeviceCutter(uploads))
    images, buffer, found = [face_bgr, face_bgr[:, ::-1].copy()], face_bgr.copy(), []
    for image in images:
        buffer[:] = image
        found += analyzer.analyze([Frame(buffer, 0, "camera", 0.0)])
    assert uploads.sent == 2
    expected = analyzer.analyze([Frame(image, 0, "camera", 0.0) for image in images])
    for one, other in zip(found, expected, strict=True):
        assert [face.label for face in one.faces] == [face.label for face in other.faces]
        for face, at_once in zip(one.faces, other.faces, strict=True):
            np.testing.assert_allclose(face.face_box_xyxy, at_once.face_box_xyxy, atol=0.1)


def test_images_are_remembered_within_one_call_alone(face_bgr: BgrImage, config: Config) -> None:
    """A picture without faces is not asked for again; what comes later in its memory is another."""
    uploads, buffer = Copies(CPU), np.zeros_like(face_bgr)
    cutter = DeviceCutter(uploads)
    assert uploads([buffer])[0].max() == 0
    assert len(cutter([buffer], [[]], SIZE)) == 0  # as after a look that found nobody
    buffer[:] = face_bgr
    found = cutter([buffer], [QUADS[:1]], SIZE)
    assert isinstance(found, torch.Tensor)
    assert np.abs(found.numpy() - to_rgb(cut_faces([face_bgr], [QUADS[:1]], SIZE))).mean() < 0.004


def test_threads_do_not_get_each_others_images(face_bgr: BgrImage) -> None:
    """Several threads may use one pipeline; each of them fills an array of its own again and again."""
    uploads = Copies(CPU)
    cutter, together = DeviceCutter(uploads), Barrier(4)
    images = [face_bgr, face_bgr[:, ::-1], face_bgr[::-1], 255 - face_bgr]
    expected = [to_rgb(cut_faces([np.ascontiguousarray(each)], [QUADS[:2]], SIZE)) for each in images]

    def worst(number: int) -> float:
        buffer, differences = np.empty_like(face_bgr), []
        for turn in range(8):
            shown = (number + turn) % 4
            buffer[:] = images[shown]
            together.wait()
            assert np.array_equal(uploads([buffer])[0].numpy(), images[shown])
            together.wait()
            found = cutter([buffer], [QUADS[:2]], SIZE)
            assert isinstance(found, torch.Tensor)
            differences.append(float(np.abs(found.numpy() - expected[shown]).mean()))
        return max(differences)

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(worst, range(4))) < 0.004


@pytest.fixture(scope="module")
def on_cpu() -> Analyzer:
    """The models in float32 on the CPU, which the others are compared with."""
    return build_analyzer(load_config(layers=[Layer.of_key("test", "precision", "float32")]))


def pairs(one: FrameResult, other: FrameResult) -> Iterator[tuple[Face, Face]]:
    """Return the faces of two results of an image in pairs, from the left to the right: some scores are equal."""
    from_left = [sorted(result.faces, key=lambda face: face.face_box_xyxy[0]) for result in (one, other)]
    return zip(*from_left, strict=True)


def test_all_of_it_together_says_the_same(demo_frames: list[Frame], config: Config, on_cpu: Analyzer) -> None:
    uploads = Uploads(CPU)
    detector = face_mobilenet.load(DetectorOptions(CPU, 0.15, 100, uploads=uploads))
    classifier = CLASSIFIERS["mask_mobilenet"](ClassifierOptions(CPU, config.clip))
    frames = demo_frames[:50:10]
    found = Analyzer(detector, classifier, config, cut=DeviceCutter(uploads)).analyze(frames)
    for one, other in zip(found, on_cpu.analyze(frames), strict=True):
        for face, expected in pairs(one, other):
            assert face.label is expected.label
            np.testing.assert_allclose(face.quad_xy, expected.quad_xy, atol=1.5)
            assert face.confidence == pytest.approx(expected.confidence, abs=0.05)


def test_half_precision_loses_no_face(demo_frames: list[Frame], on_cpu: Analyzer) -> None:
    """bfloat16 has 8 bits of mantissa: a box moves by a pixel or two, and not by more where it is decoded in float32."""
    shown = demo_frames[:50:25]
    half = build_analyzer(load_config(layers=[Layer.of_key("test", "precision", "bfloat16")]))
    for one, other in zip(half.analyze(shown), on_cpu.analyze(shown), strict=True):
        assert len(one.faces) == len(other.faces)
        for face, expected in pairs(one, other):
            np.testing.assert_allclose(face.face_box_xyxy, expected.face_box_xyxy, atol=3)
            assert face.label is expected.label
            assert face.face_box_xyxy.dtype == np.float32


def test_compiled_networks_have_no_half_precision() -> None:
    layers = [Layer.of_key("test", "precision", "float16"), Layer.of_key("test", "detector.backend", "openvino")]
    with pytest.raises(ConfigError, match="openvino does not compute in float16; choose torch, or precision auto"):
        build_analyzer(load_config(layers=layers))
