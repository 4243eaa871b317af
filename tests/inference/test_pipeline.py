"""`MaskPipeline` as a library: in threads, in forked processes, and given what is no image."""

import os
import signal
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event, Thread
from typing import Any, Final

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskstream import MaskPipeline, load_config
from maskstream.config.loading import Layer
from maskstream.types import BgrImage, Face, Frame
from tests.forks import fork
from tests.slowness import LONGEST_S

BACKENDS: Final = ("openvino", "onnx", "torch")


def build(backend: str, **settings: object) -> MaskPipeline:
    chosen = {"detector.backend": backend, "classifier.backend": backend, "detector.short_side": 192} | settings
    return MaskPipeline(load_config(layers=[Layer.of_key("test", key, value) for key, value in chosen.items()]))


@pytest.fixture(scope="module", params=BACKENDS)
def loaded(request: pytest.FixtureRequest) -> MaskPipeline:
    return build(request.param)


def said_of(faces: Sequence[Face]) -> list[tuple[str, list[int]]]:
    return [(face.label.value, np.round(face.face_box_xyxy).astype(int).tolist()) for face in faces]


def test_threads_get_the_answers_that_one_gets(loaded: MaskPipeline, demo_frames: list[Frame]) -> None:
    images = [frame.bgr for frame in demo_frames[:48:6]]
    expected = [said_of(loaded(each)) for each in images]
    assert len({str(each) for each in expected}) == len(images)
    together = Barrier(4)

    def analyse(number: int) -> list[list[tuple[str, list[int]]]]:
        together.wait()
        return [said_of(loaded(each)) for each in images[number::4]]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(analyse, range(4)))
    assert found == [expected[number::4] for number in range(4)]


@pytest.mark.slow
def test_threads_may_give_one_and_several_images_at_the_same_time(demo_frames: list[Frame]) -> None:
    """OpenVINO has a network for calls that come alone, and one for several."""
    analyzer, frames = build("openvino").analyzer, demo_frames[:24:2]
    expected = [said_of(analyzer.analyze([frame])[0].faces) for frame in frames]
    batches = [[frame] for frame in frames[:6]] + [frames[6:9], frames[9:12]]
    with ThreadPoolExecutor(4) as pool:
        results = [result for of_batch in pool.map(analyzer.analyze, batches) for result in of_batch]
    for result, single in zip(results, expected, strict=True):
        assert [label for label, _ in said_of(result.faces)] == [label for label, _ in single]
        np.testing.assert_allclose([box for _, box in said_of(result.faces)], [box for _, box in single], atol=1)


def in_a_fork(act: Callable[[], object]) -> str:
    """Return what a forked process says: what `act` returns, or the error that it raises; it must come to an end."""
    reading, writing = os.pipe()
    process = fork()
    if process == 0:
        try:
            said = str(act())
        except BaseException as error:
            said = "".join(traceback.format_exception_only(error))
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    watchdog = Thread(target=_kill_late, args=(process, over := Event()))
    watchdog.start()
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    _, status = os.waitpid(process, 0)
    over.set()
    watchdog.join()
    assert status == 0, "it hangs" if os.WIFSIGNALED(status) else status
    return said


def _kill_late(process: int, over: Event) -> None:
    if not over.wait(LONGEST_S):
        os.kill(process, signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("images", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_a_fork_raises_that_it_cannot_use_the_models_of_its_parent(
    loaded: MaskPipeline, demo_frames: list[Frame], images: int
) -> None:
    loaded.analyzer.analyze(demo_frames[:images])
    said = in_a_fork(lambda: loaded.analyzer.analyze(demo_frames[:images]))
    assert said.startswith("maskstream.errors.ModelError: the models were loaded in process ")
    assert f"process {os.getpid()}, " in said
    assert said.strip().endswith('load them after the fork, or start processes with multiprocessing.get_context("spawn")')
    assert loaded(demo_frames[0].bgr)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_raises_it_while_another_thread_has_the_model(loaded: MaskPipeline, demo_frames: list[Frame]) -> None:
    over = Event()

    def work() -> None:
        while not over.is_set():
            loaded(demo_frames[0].bgr)

    thread = Thread(target=work)
    thread.start()
    try:
        assert "ModelError" in in_a_fork(lambda: loaded(demo_frames[0].bgr))
    finally:
        over.set()
        thread.join()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fork_may_load_models_of_its_own(backend: str, demo_frames: list[Frame]) -> None:
    """ONNX Runtime's; the threads of OpenVINO and PyTorch are those of the process that has used them."""
    frames = demo_frames[:4]
    own = build(backend)
    expected = [said_of(result.faces) for result in own.analyzer.analyze(frames)]
    said = in_a_fork(lambda: [said_of(result.faces) for result in build(backend).analyzer.analyze(frames)])
    if backend == "onnx":
        assert said == str(expected)
    else:
        library = {"openvino": "OpenVINO", "torch": "PyTorch"}[backend]
        assert f"ModelError: {library} loaded a model in process" in said


def of_pil(bgr: BgrImage, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(bgr[..., ::-1]).convert(mode)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (
            lambda bgr: None,
            TypeError,
            r"the image is None: cv2\.imread returns None when it cannot read a file; check the path",
        ),
        (lambda bgr: cv2.imread("no such file.jpg"), TypeError, "the image is None"),
        (lambda bgr: "photo.jpg", TypeError, r"the image is a str; give cv2\.imread\(path\)"),
        (of_pil, TypeError, r"PIL\.Image\.Image; give cv2\.cvtColor\(.*COLOR_RGB2BGR\), because PIL has red first"),
        (lambda bgr: of_pil(bgr, "L"), TypeError, r"COLOR_RGB2BGR"),
        (lambda bgr: torch.from_numpy(bgr), TypeError, "the image is a torch.Tensor; give a NumPy array"),
        (lambda bgr: bgr.tolist(), TypeError, "the image is a list; give a NumPy array"),
        (lambda bgr: bgr / 255, ValueError, r"float64 \(360, 640, 3\), expected uint8 .*\(image \* 255\)\.astype"),
        (lambda bgr: bgr.astype(np.uint16), ValueError, "uint16 .*scale it to 0..255"),
        (lambda bgr: bgr > 100, ValueError, "bool .*scale it"),
        (lambda bgr: bgr[..., 0], ValueError, r"it is grey; cv2\.cvtColor\(image, cv2\.COLOR_GRAY2BGR\)"),
        (lambda bgr: bgr[..., :1], ValueError, "it is grey"),
        (lambda bgr: np.dstack([bgr, bgr[..., :1]]), ValueError, r"alpha channel; cv2\.cvtColor\(image, cv2\.COLOR_BGRA2BGR\)"),
        (lambda bgr: bgr.transpose(2, 0, 1), ValueError, r"channels last; image\.transpose\(1, 2, 0\)"),
        (lambda bgr: np.dstack([bgr, bgr]), ValueError, "give three channels"),
        (lambda bgr: bgr[None], ValueError, "one image at a time"),
        (lambda bgr: bgr[:0], ValueError, r"uint8 \(0, 640, 3\).*it is empty"),
        (lambda bgr: np.array(3, np.uint8), ValueError, "no rows and columns"),
        (lambda bgr: np.array(None), ValueError, "no rows and columns"),
    ],
)
def test_what_is_no_image_is_refused_with_what_to_do(
    pipeline: MaskPipeline, face_bgr: BgrImage, make: Callable[[BgrImage], Any], error: type[Exception], said: str
) -> None:
    given = make(face_bgr)
    with pytest.raises(error, match=said):
        pipeline(given)
    with pytest.raises(error, match=said):
        pipeline.draw(given, ())


def test_what_the_messages_say_works(pipeline: MaskPipeline, face_bgr: BgrImage) -> None:
    expected = said_of(pipeline(face_bgr))
    image = of_pil(face_bgr)
    assert said_of(pipeline(cv2.cvtColor(np.asarray(image.convert("RGB")), cv2.COLOR_RGB2BGR))) == expected
    floats = face_bgr / 255
    assert said_of(pipeline((floats * 255).round().astype(np.uint8))) == expected
    assert said_of(pipeline(cv2.cvtColor(np.dstack([face_bgr, face_bgr[..., :1]]), cv2.COLOR_BGRA2BGR))) == expected
    assert said_of(pipeline(face_bgr.transpose(2, 0, 1).transpose(1, 2, 0))) == expected


@pytest.mark.parametrize("blur", ["all", "unmasked"])
def test_what_is_drawn_is_covered_whatever_faces_are_given(face_bgr: BgrImage, blur: str) -> None:
    """Of three faces in the image one wears a mask. The right edge is outside of the region."""
    region = [0.0, 0.0, 0.9, 1.0]
    own = build("openvino", **{"privacy.blur": blur, "overlay.labels": False, "detector.region": region})
    faces = own(face_bgr)
    assert {face.label.value for face in faces} == {"mask", "no_mask"}
    for given in (faces, faces[1:], ()):
        drawn = own.draw(face_bgr, given)
        assert len(np.unique(drawn[300:, 580:].reshape(-1, 3), axis=0)) == 1
        for face in faces:
            x, y = ((face.face_box_xyxy[:2] + face.face_box_xyxy[2:]) / 2).astype(int)
            middle = drawn[y - 8 : y + 8, x - 8 : x + 8].reshape(-1, 3)
            assert (len(np.unique(middle, axis=0)) == 1) == (blur == "all" or face.label.value == "no_mask")


def test_memory_may_lie_in_any_order_and_is_not_written(pipeline: MaskPipeline, face_bgr: BgrImage) -> None:
    expected = said_of(pipeline(face_bgr))
    turned = np.ascontiguousarray(face_bgr[::-1, ::-1])[::-1, ::-1]
    fortran = np.asfortranarray(face_bgr)
    locked = face_bgr.copy()
    locked.setflags(write=False)
    for image in (turned, fortran, locked, np.ascontiguousarray(face_bgr[..., ::-1])[..., ::-1]):
        assert said_of(pipeline(image)) == expected
        assert pipeline.draw(image, pipeline(image)).shape == face_bgr.shape
