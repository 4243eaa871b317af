"""Faces in video with oblong pixels, interlaced video and HDR equal those of the plain clip."""

import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from maskstream import MaskPipeline
from maskstream.sources import FileSource
from maskstream.types import Label
from tests.conftest import DEMO
from tests.sources.test_frame_conversion import video_config
from tests.sources.test_hdr import CONVERSIONS, converted

SHAKEN = r"scale=720:404,crop=640:360:'40*abs(mod(n\,4)-2)':'12*abs(mod(n\,4)-2)'"
"""Move the demo clip by 40 pixels to the side and 12 up or down from frame to frame."""
WOVEN = ["-flags", "+ildct+ilme", "-x264-params", "tff=1"]
RECORDED = {
    "half D1": ["-vf", "scale=320:360,setsar=2"],
    "2CIF": ["-vf", "scale=640:180,setsar=1/2"],
    "interlaced": ["-vf", f"{SHAKEN},tinterlace=interleave_top", *WOVEN],
}


def faces(pipeline: MaskPipeline, path: Path, every_s: float = 0.4, *, deinterlace: bool = True) -> Counter[Label]:
    """Count the labels in frames at equal intervals; the clip lasts 6 s."""
    labels: Counter[Label] = Counter()
    video = video_config(deinterlace="auto" if deinterlace else False)
    with closing(FileSource(str(path), video=video)) as source:
        assert (source.info.width, source.info.height) == (640, 360)
        for frame in source:
            if round(frame.time_s * 1000) % round(every_s * 1000) == 0:
                labels.update(face.label for face in pipeline(frame.bgr))
    return labels


@pytest.fixture(scope="module")
def plain(pipeline: MaskPipeline) -> Counter[Label]:
    labels = faces(pipeline, DEMO)
    assert set(labels) == {Label.MASK, Label.NO_MASK}
    assert labels.total() > 40
    return labels


def assert_same(labels: Counter[Label], plain: Counter[Label]) -> None:
    assert ((labels - plain) + (plain - labels)).total() <= 3


@pytest.mark.slow
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_otherwise(
    tmp_path: Path, system_tool: Callable[[str], str], pipeline: MaskPipeline, plain: Counter[Label], name: str
) -> None:
    path = tmp_path / "clip.mp4"
    command = [system_tool("ffmpeg"), "-v", "error", "-i", str(DEMO), "-an", *RECORDED[name], str(path)]
    subprocess.run(command, check=True)
    assert_same(faces(pipeline, path), plain)
    if name == "interlaced":
        assert faces(pipeline, path, deinterlace=False).total() < plain.total() / 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONVERSIONS)
def test_hdr(tmp_path: Path, system_tool: Callable[[str], str], pipeline: MaskPipeline, plain: Counter[Label], kind: str) -> None:
    path = converted(system_tool("ffmpeg"), DEMO, tmp_path / "clip.mp4", kind, length_s=6)
    assert_same(faces(pipeline, path), plain)
