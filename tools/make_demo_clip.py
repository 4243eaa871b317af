#!/usr/bin/env python3
"""Make the demo clip: three prints of a public-domain NASA portrait, and a surgical mask drawn on two of them.

    python tools/make_demo_clip.py --out assets/demo.mp4

The left print (mirrored) never wears a mask, the middle one puts it on, the right one always wears it. The portrait is
`skimage.data.astronaut()`: Eileen Collins, NASA, public domain. Nothing is random; the clip is the same every time.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal

import av
import cv2
import numpy as np
import skimage.data
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.floating[Any]]
"""Colour (H, W, 3) RGB, or a layer of opacity (H, W, 1); 0 to 1."""
Matrix = NDArray[np.float64]
"""(3, 3) affine transform of points."""

FPS: Final = 25
FRAMES: Final = 150
WIDTH: Final = 640
HEIGHT: Final = 360
SUPERSAMPLING: Final = 2
"""Frames are composed this much larger and averaged, so that edges do not crawl."""
LAST_BARE_FRAME: Final = 60
FIRST_MASKED_FRAME: Final = 65
"""In the frames between, the mask rises from below the chin of the middle print."""

DETAIL: Final = 4
"""The portrait is enlarged by this before the mask is drawn."""
PRINT_XYXY: Final = (95, 12, 355, 342)
"""What a print shows of the portrait, pixels of the photograph."""
PAPER_EDGE_PX: Final = 7
EYES_XY: Final = ((203.2, 100.7), (247.5, 103.2))
"""In the photograph, from the left of the image to its right. Their distance is the unit the mask is drawn in."""
CLOTH_RGB: Final = (0.64, 0.80, 0.89)
HEM_RGB: Final = (0.72, 0.85, 0.92)
STRAP_RGB: Final = (0.90, 0.92, 0.93)
STRAPS: Final = (((0.92, 0.58), (1.15, 0.40)), ((0.84, 1.22), (1.12, 0.62)))
"""From the mask to the ear, on either side: across and down from the middle of the eyes, in eye distances."""
FOLDS: Final = (0.42, 0.57, 0.72)
"""Where the cloth is pleated, from its upper edge (0) to its lower (1)."""
RISE: Final = 1.0
"""How far below its place the mask starts, in eye distances."""

SAMPLE_RATE: Final = 48_000
BARE_HZ: Final = 220.0
MASKED_HZ: Final = 330.0
LOUDNESS: Final = 0.1


@dataclass(frozen=True)
class Print:
    """One print of the portrait on the wall."""

    centre_xy: tuple[float, float]
    """From the centre of the frame, pixels of the frame."""
    scale: float
    """Pixels of the frame to one of the photograph."""
    tilt_deg: float
    """Clockwise."""
    sway_deg: float
    sway_period_s: float
    mask: Literal["never", "appears", "always"]
    mirrored: bool = False


PRINTS: Final = (
    Print((-220, 10), 0.66, tilt_deg=-4, sway_deg=2.5, sway_period_s=4.0, mask="never", mirrored=True),
    Print((0, -4), 0.90, tilt_deg=0, sway_deg=-3, sway_period_s=6.0, mask="appears"),
    Print((220, 6), 0.66, tilt_deg=4, sway_deg=2.5, sway_period_s=5.0, mask="always"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("assets/demo.mp4"), help="MP4 file to write")
    parser.add_argument("--crf", type=int, default=22, help="quality of H.264, 0 to 51 (worst)")
    arguments = parser.parse_args()
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_clip(arguments.out, arguments.crf)
    print(f"{arguments.out}: {FRAMES} frames, {arguments.out.stat().st_size / 1000:.0f} kB")


# The picture


def render_frames() -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of the clip, (HEIGHT, WIDTH, 3) uint8 RGB."""
    portrait = skimage.data.astronaut().astype(np.float32) / 255  # type: ignore[no-untyped-call]
    wall = make_wall(portrait)
    left, top, right, bottom = PRINT_XYXY
    portrait = portrait[top:bottom, left:right]
    portrait = cv2.resize(portrait, None, fx=DETAIL, fy=DETAIL, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    bare, masked = make_print(portrait), make_print(wear_mask(portrait, 1))
    for index in range(FRAMES):
        worn = np.clip((index - LAST_BARE_FRAME) / (FIRST_MASKED_FRAME - LAST_BARE_FRAME), 0, 1)
        rising = make_print(wear_mask(portrait, worn)) if 0 < worn < 1 else (masked if worn else bare)
        images = {"never": bare, "appears": rising, "always": masked}
        view = camera(index / FPS)
        frame = warp(wall, view, cv2.BORDER_REFLECT)
        for spot in PRINTS:
            frame = paste(frame, images[spot.mask], view @ placement(spot, index / FPS))
        small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
        yield np.rint(small.clip(0, 1) * 255).astype(np.uint8)


def make_wall(portrait: Image) -> Image:
    """Return a quiet background: the portrait's own colours, blurred until nothing can be recognised."""
    size = (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING)
    colours = cv2.GaussianBlur(cv2.resize(portrait, (64, 36), interpolation=cv2.INTER_AREA), (0, 0), sigmaX=5)
    return cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC) * 0.45 + np.array([0.10, 0.13, 0.17], np.float32)


def make_print(portrait: Image) -> Image:
    """Return the enlarged portrait with the white edge of the paper."""
    edge = DETAIL * PAPER_EDGE_PX
    image = cv2.copyMakeBorder(portrait, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=(0.93, 0.93, 0.91))
    # Prints are shown at about half this size, which linear interpolation alone would alias.
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=0.8), portrait.dtype)


def camera(time_s: float) -> Matrix:
    """Return the slow pan, zoom and roll of the complete wall, as a transform of the pixels before supersampling is undone."""
    angle = 2 * np.pi * time_s * FPS / FRAMES
    zoom = 1.02 - 0.05 * np.cos(angle)
    pan_xy = (9 * np.sin(angle), 4 * np.sin(2 * angle))
    roll_deg = 1.5 * np.sin(angle)
    centre_xy = (WIDTH * SUPERSAMPLING / 2, HEIGHT * SUPERSAMPLING / 2)
    turn = square(cv2.getRotationMatrix2D(centre_xy, roll_deg, zoom))
    return shift(pan_xy[0] * SUPERSAMPLING, pan_xy[1] * SUPERSAMPLING) @ turn


def placement(spot: Print, time_s: float) -> Matrix:
    """Return the transform from a print's own pixels to the wall."""
    width, height = (DETAIL * (PRINT_XYXY[axis + 2] - PRINT_XYXY[axis] + 2 * PAPER_EDGE_PX) for axis in (0, 1))
    tilt_deg = spot.tilt_deg + spot.sway_deg * np.sin(2 * np.pi * time_s / spot.sway_period_s)
    turn = square(cv2.getRotationMatrix2D((0, 0), -tilt_deg, spot.scale * SUPERSAMPLING / DETAIL))
    flip = np.diag([-1.0 if spot.mirrored else 1.0, 1.0, 1.0])
    x, y = (SUPERSAMPLING * value for value in (WIDTH / 2 + spot.centre_xy[0], HEIGHT / 2 + spot.centre_xy[1]))
    return shift(x, y) @ turn @ flip @ shift(-width / 2, -height / 2)


def paste(frame: Image, image: Image, to_frame: Matrix) -> Image:
    """Return the frame with an image laid on it, which throws a soft shadow."""
    opacity = warp(np.ones(image.shape[:2], np.float32), to_frame, cv2.BORDER_CONSTANT)
    coarse = cv2.resize(warp(opacity, shift(8, 12), cv2.BORDER_CONSTANT), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    shadow = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), sigmaX=3.5), opacity.shape[::-1])[..., None]
    return frame * (1 - 0.55 * shadow) * (1 - opacity[..., None]) + warp(image, to_frame) * opacity[..., None]


def warp(image: Image, to_frame: Matrix, border: int = cv2.BORDER_REPLICATE) -> Image:
    """Return the image or layer at its place in a frame that is still `SUPERSAMPLING` times too large."""
    size = (WIDTH * SUPERSAMPLING, HEIGHT * SUPERSAMPLING)
    warped = cv2.warpAffine(image, to_frame[:2], size, flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, image.dtype)


def square(affine: ArrayLike) -> Matrix:
    return np.vstack([np.asarray(affine, np.float64), [0, 0, 1]])


def shift(x: float, y: float) -> Matrix:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


# The mask


@dataclass(frozen=True, eq=False)
class FaceAxes:
    """Where each pixel lies on the face: from the middle of the eyes, in eye distances."""

    across: Image
    """(H, W, 1), to the right of the image."""
    down: Image
    """(H, W, 1), to the chin."""


def wear_mask(portrait: Image, worn: float) -> Image:
    """Return the enlarged portrait with a mask on the face.

    Args:
        portrait: What a print shows of the photograph, enlarged by `DETAIL`.
        worn: 0 for no mask, 1 for a mask in its place; between, it is still rising and half transparent.
    """
    axes = face_axes(portrait, lowered_by=(1 - worn) * RISE)
    cloth, cloth_opacity = draw_cloth(axes)
    straps = draw_straps(axes)
    worn_opacity = min(1.0, 2 * worn)
    cover = np.maximum(cloth_opacity, straps) * worn_opacity
    contact = cv2.GaussianBlur(np.roll(cover, DETAIL, axis=0), (0, 0), sigmaX=2.2 * DETAIL)[..., None]
    image = portrait * (1 - 0.35 * contact)
    image = image * (1 - straps * worn_opacity) + np.array(STRAP_RGB, np.float32) * straps * worn_opacity
    masked: Image = image * (1 - cloth_opacity * worn_opacity) + cloth * cloth_opacity * worn_opacity
    return masked


def face_axes(portrait: Image, lowered_by: float) -> FaceAxes:
    """Return the axes of the face for a mask that hangs `lowered_by` eye distances too low."""
    left_eye, right_eye = (DETAIL * (np.array(eye) - PRINT_XYXY[:2]) for eye in EYES_XY)
    unit = (right_eye - left_eye) / np.sum((right_eye - left_eye) ** 2)
    y, x = np.mgrid[: portrait.shape[0], : portrait.shape[1]].astype(np.float32)
    x, y = x - (left_eye + right_eye)[0] / 2, y - (left_eye + right_eye)[1] / 2
    across, down = x * unit[0] + y * unit[1], y * unit[0] - x * unit[1] - lowered_by
    return FaceAxes(across[..., None].astype(np.float32), down[..., None].astype(np.float32))


def draw_cloth(axes: FaceAxes) -> tuple[Image, Image]:
    """Return colour and opacity of a pleated mask from the bridge of the nose to under the chin."""
    bridge = np.exp(-((axes.across / 0.36) ** 2))
    top = 0.53 - 0.26 * bridge
    height = np.maximum(1.86 - 0.58 * (np.abs(axes.across) / 0.9) ** 2.4 - top, 0.1)
    v = (axes.down - top) / height
    u = axes.across / (0.97 - 0.10 * v.clip(0, 1))
    to_edge = np.minimum(np.minimum(v, 1 - v) * height, (1 - np.abs(u)) * 0.9)
    hem = 0.6 * np.maximum(step(0.075 - v, 0.006), step(np.maximum(v - 0.955, np.abs(u) - 0.945), 0.006))
    colour = np.array(CLOTH_RGB, np.float32) * (1 - hem) + np.array(HEM_RGB, np.float32) * hem
    light = cloth_form(u, v) + cloth_folds(u, v - 0.2 * bridge * (0.75 - v)) + nose_wire(v) * bridge
    return (colour * light).clip(0, 1), (to_edge / 0.025 + 0.5).clip(0, 1)


def cloth_form(u: Image, v: Image) -> Image:
    """Return the brightness of a smooth form, lit from the upper left; `u` across is -1 to 1, `v` down is 0 to 1."""
    rounding = 1.06 - 0.42 * np.abs(u + 0.08) ** 2.2 - 0.40 * (v - 0.50).clip(0, 1) ** 1.4
    nose = 0.07 * np.exp(-(((u + 0.03) / 0.12) ** 2) - ((v - 0.30) / 0.22) ** 2)
    shade_of_nose = 0.11 * np.exp(-(((u - 0.20) / 0.11) ** 2) - ((v - 0.30) / 0.18) ** 2)
    form: Image = rounding + nose - shade_of_nose
    return form


def cloth_folds(u: Image, v: Image) -> Image:
    """Return what the pleats add to the brightness: a lit ridge, a dark line under it, and a shade that fades."""
    light = np.zeros_like(v)
    for level in FOLDS:
        below = (v - level - 0.02 * u**2) / 0.028
        shade = 0.07 * step(below, 0.3) * np.exp(-below.clip(0, 9))
        light += 0.07 * np.exp(-((below + 1.1) ** 2)) - 0.19 * np.exp(-((below / 0.6) ** 2)) - shade
    return light * (1 - 0.35 * np.minimum(u**2, 1))


def nose_wire(v: Image) -> Image:
    light: Image = 0.05 * np.exp(-(((v - 0.055) / 0.016) ** 2)) - 0.10 * np.exp(-(((v - 0.085) / 0.010) ** 2))
    return light


def draw_straps(axes: FaceAxes) -> Image:
    """Return the opacity of the loops that run from the corners of the cloth to behind the ears."""
    side = np.abs(axes.across)
    straps = np.zeros_like(side)
    for (start_x, start_y), (end_x, end_y) in STRAPS:
        run, fall = end_x - start_x, end_y - start_y
        along = (((side - start_x) * run + (axes.down - start_y) * fall) / (run**2 + fall**2)).clip(0, 1)
        distance = np.hypot(side - start_x - along * run, axes.down - start_y - along * fall)
        straps = np.maximum(straps, step(0.017 - distance, 0.008))
    return straps


def step(value: Image, softness: float) -> Image:
    """Return 0 well below zero, 1 well above, and a smooth way between."""
    return np.asarray(1 / (1 + np.exp(-(value / softness).clip(-30, 30))), np.float32)


# The sound


def render_sound() -> NDArray[np.float32]:
    """Return (2, N) samples: a quiet tone that glides up a fifth while the mask rises; its octave wanders between the sides."""
    time_s = np.arange(SAMPLE_RATE * FRAMES // FPS) / SAMPLE_RATE
    rising = np.clip((time_s * FPS - LAST_BARE_FRAME) / (FIRST_MASKED_FRAME - LAST_BARE_FRAME), 0, 1)
    phase = 2 * np.pi * np.cumsum(BARE_HZ + (MASKED_HZ - BARE_HZ) * rising) / SAMPLE_RATE
    side = 0.5 + 0.4 * np.sin(2 * np.pi * time_s / 3)
    fade = np.minimum(1, np.minimum(time_s, time_s[-1] - time_s) / 0.4)
    tone, octave = np.sin(phase), 0.3 * np.sin(2 * phase)
    return np.asarray(LOUDNESS * fade * np.stack([tone + octave * (1 - side), tone + octave * side]), np.float32)


# The file


def write_clip(path: Path, crf: int) -> None:
    """Encode video and audio, H.264 and AAC in an MP4 that starts to play before it is loaded."""
    sound = render_sound()
    samples = SAMPLE_RATE // FPS
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video, audio = add_video(container, crf), add_audio(container)
        container.metadata["comment"] = "Made from a portrait of Eileen Collins, NASA, public domain"
        for index, image in enumerate(render_frames()):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")))
            piece = np.ascontiguousarray(sound[:, index * samples : (index + 1) * samples])
            tone = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            tone.sample_rate, tone.pts, tone.time_base = SAMPLE_RATE, index * samples, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(tone))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def add_video(container: av.container.OutputContainer, crf: int) -> av.VideoStream:
    stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf), "preset": "slow"})
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context.gop_size = 2 * FPS
    context.colorspace, context.color_range = 1, ColorRange.MPEG.value  # 1: BT.709
    context.color_primaries, context.color_trc = ColorPrimaries.BT709.value, ColorTrc.BT709.value
    return stream


def add_audio(container: av.container.OutputContainer) -> av.AudioStream:
    stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
    stream.codec_context.bit_rate = 64_000
    return stream


if __name__ == "__main__":
    main()
