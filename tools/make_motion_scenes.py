#!/usr/bin/env python3
"""Make videos of fixed cameras in whose pictures faces come and go, to measure detector.motion with measure_motion.py.

python tools/make_motion_scenes.py --backgrounds photos/ --faces clip.mp4 --out scenes/

Each scene is 60 s long, 720 lines, 10 frames a second, H.264 with a key frame every 2 s. Six faces of the clips, 22 to 110 px
high with their surroundings, come for 3 s each, with breaks of 6 s; every second face walks. In turn, the scenes have little
noise, much noise, light that changes by a quarter, and a camera that shakes by 2 px.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import cv2

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import av
import numpy as np

from maskstream import MaskPipeline
from maskstream.benchmark.scenes import Scene, face_with_margin, walks
from maskstream.io.image_formats import IMAGE_SUFFIXES
from maskstream.sources import FileSource
from maskstream.types import BgrImage

FPS: Final = 10
LINES: Final = 720
MAX_WIDTH: Final = 1280
HEIGHTS_PX: Final = (22, 28, 36, 48, 72, 110)
KINDS: Final[tuple[dict[str, Any], ...]] = ({}, {"noise": 5.0}, {"light": 0.25}, {"shake_px": 2.0})
EVERY: Final = 40
"""Frames of a clip from one search for faces to the next."""
PER_CLIP: Final = 6
MIN_FACE_PX: Final = 30
MIN_SCORE: Final = 0.9
CODEC: Final = {"crf": "26", "preset": "veryfast", "tune": "zerolatency", "g": "20"}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backgrounds", type=Path, required=True, metavar="DIR", help="images without faces, also in subfolders")
    parser.add_argument("--faces", action="append", required=True, metavar="FILE", help="video with faces; may be repeated")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the videos")
    parser.add_argument("--count", type=int, default=12, metavar="N", help="number of videos; default: 12")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="length of each; default: 60")
    arguments = parser.parse_args(argv)
    photos = sorted(path for path in arguments.backgrounds.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    pipeline = MaskPipeline()
    faces = [face for clip in arguments.faces for face in islice(faces_of(clip, pipeline), PER_CLIP)]
    if not photos or not faces:
        parser.error("no image in --backgrounds" if not photos else "no large face in --faces")
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for number in range(arguments.count):
        background = scaled(photos[4 * number % len(photos)])
        heights_px = [int(height) for height in rng.permutation(HEIGHTS_PX)]
        chosen = [faces[index] for index in rng.integers(0, len(faces), len(heights_px))]
        visits = walks(chosen, (background.shape[1], LINES), heights_px, number)
        scene = Scene(background, visits, seed=number, **KINDS[number % len(KINDS)])
        write(arguments.out / f"scene{number:02d}.mp4", scene, arguments.seconds)
    return 0


def faces_of(clip: str, pipeline: MaskPipeline) -> Iterator[BgrImage]:
    """Yield large and certain faces of a video with their surroundings."""
    with closing(FileSource(clip)) as source:
        for frame in source:
            if frame.index % EVERY == 0:
                for face in pipeline(frame.bgr):
                    height = face.face_box_xyxy[3] - face.face_box_xyxy[1]
                    if face.detection.score > MIN_SCORE and height > MIN_FACE_PX:
                        yield face_with_margin(frame, face)


def scaled(path: Path) -> BgrImage:
    """Return an image with 720 lines, cut to the size of a video."""
    image = cv2.imread(str(path))
    if image is None:
        raise SystemExit(f"{path}: not an image that OpenCV reads")
    scale = LINES / min(image.shape[:2])
    large = cv2.resize(image, None, fx=scale, fy=scale)
    return np.ascontiguousarray(large[:LINES, : min(large.shape[1], MAX_WIDTH) // 2 * 2], np.uint8)


def write(path: Path, scene: Scene, seconds: float) -> None:
    """Encode a scene."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options=CODEC)
        stream.height, stream.width = scene.background.shape[:2]
        stream.pix_fmt = "yuv420p"
        for index in range(round(seconds * FPS)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.at(index / FPS), format="bgr24")))
        container.mux(stream.encode())


if __name__ == "__main__":
    sys.exit(main())
