"""Process images on a GPU: upload each image once as bytes, then scale and cut it there."""

from collections import defaultdict
from collections.abc import Sequence
from threading import local
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from maskstream.models.out_of_memory import memory_errors
from maskstream.types import BgrImage, FloatArray
from maskstream.vision.align import PADDING_BGR, supersampling


class _Uploaded(local):
    """For each thread, the images of its last upload and their copies, by the memory address of the image."""

    def __init__(self) -> None:
        self.by_address: dict[Any, tuple[BgrImage, torch.Tensor]] = {}


class Uploads:
    """Uploads images to a device once for detector and cutter: the detector calls the object, then the cutter calls `again`.

    Copies are kept only between these two calls of one thread: at the next call, the same memory may have other pixels.
    """

    def __init__(self, device: torch.device | str) -> None:
        """Start without images."""
        self.device = torch.device(device)
        self._uploaded = _Uploaded()

    def __call__(self, images_bgr: Sequence[BgrImage]) -> list[torch.Tensor]:
        """Upload images (H, W, 3) uint8 BGR. Every call uploads again: a camera may reuse an array for its next image.

        Returns:
            The images on the device. The copies may not be finished, but are ordered in the current CUDA stream.
        """
        uploaded = self._uploaded.by_address = {}  # frees the memory of the last images first
        for image in images_bgr:
            if _address(image) not in uploaded:
                uploaded[_address(image)] = (image, self._upload(image))
        return [uploaded[_address(image)][1] for image in images_bgr]

    def again(self, images_bgr: Sequence[BgrImage]) -> list[torch.Tensor]:
        """Return the copies of the last call and forget them; upload the images that were not in it."""
        uploaded, self._uploaded.by_address = self._uploaded.by_address, {}
        copies = []
        for image in images_bgr:
            _, copy = uploaded.get(_address(image)) or (image, self._upload(image))
            copies.append(copy)
        return copies

    def _upload(self, image_bgr: BgrImage) -> torch.Tensor:
        return upload(np.ascontiguousarray(image_bgr), self.device)


def upload(values: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Copy an array to a device without waiting: the copy is ordered in the current CUDA stream."""
    tensor = torch.from_numpy(values)
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def _address(image_bgr: BgrImage) -> Any:
    """Return the memory address of an image with its shape and strides."""
    return image_bgr.__array_interface__["data"], image_bgr.shape, image_bgr.strides


def scaled(images: Sequence[torch.Tensor], sizes_hw: Sequence[tuple[int, int]]) -> list[torch.Tensor]:
    """Return images (H, W, 3) uint8 BGR in other sizes, as (3, h, w) float32 RGB in [0, 1]; all of one size in one call."""
    by_shape: defaultdict[Any, list[int]] = defaultdict(list)
    for index, (image, size_hw) in enumerate(zip(images, sizes_hw, strict=True)):
        by_shape[image.shape, size_hw].append(index)
    found: dict[int, torch.Tensor] = {}
    for (_, size_hw), indices in by_shape.items():
        rgb = torch.stack([images[index] for index in indices]).flip(-1).permute(0, 3, 1, 2).float().div_(255)
        small = functional.interpolate(rgb, size_hw, mode="bilinear", align_corners=False)
        found |= dict(zip(indices, small, strict=True))
    return [found[index] for index in range(len(images))]


class DeviceCutter:
    """Cuts faces on a device as `cut_faces` does, in one call of `grid_sample` for all images of one size."""

    def __init__(self, uploads: Uploads) -> None:
        """Share the uploads of the detector."""
        self._uploads = uploads

    @memory_errors()
    @torch.inference_mode()
    def __call__(
        self, images_bgr: Sequence[BgrImage], quads_xy: Sequence[Sequence[FloatArray]], size_px: int
    ) -> Sequence[BgrImage]:
        """Return the crops as a tensor (N, 3, S, S) float32 RGB in [0, 1] on the device, which the classifiers accept.

        Raises:
            OutOfMemory: The device has not enough memory; call again with fewer images.
        """
        wanted = [(index, quad) for index, quads in enumerate(quads_xy) for quad in quads]
        crops = torch.zeros(len(wanted), 3, size_px, size_px, device=self._uploads.device)
        groups: defaultdict[Any, list[int]] = defaultdict(list)
        for number, (index, quad) in enumerate(wanted):
            side_px = float(np.hypot(*(quad[1] - quad[0])))
            groups[images_bgr[index].shape, supersampling(side_px, size_px)].append(number)
        uploaded = self._uploads.again(images_bgr if wanted else [])
        for (_, multiple), numbers in groups.items():
            shown = sorted({wanted[number][0] for number in numbers})
            volume = torch.stack([uploaded[index] for index in shown])
            quads = np.stack([wanted[number][1] for number in numbers])
            layers = [shown.index(wanted[number][0]) for number in numbers]
            crops[upload(np.array(numbers), crops.device)] = _sample(volume, quads, layers, size_px, multiple)
        return cast("Sequence[BgrImage]", crops)


def _sample(volume: torch.Tensor, quads_xy: FloatArray, layers: list[int], size_px: int, multiple: int) -> torch.Tensor:
    """Return N crops (N, 3, S, S) RGB in [0, 1] of images (B, H, W, 3) BGR; `layers` has the index of the image of each quad."""
    device = volume.device
    padding = upload(np.array(PADDING_BGR[::-1], np.float32), device).view(1, 3, 1, 1, 1)
    rgb = volume.flip(-1).permute(3, 0, 1, 2)[None].float() - padding  # outside is sampled as zero
    count, height, width, _ = volume.shape
    steps = (torch.arange(size_px * multiple, device=device) + 0.5) / (size_px * multiple)
    corners = upload(quads_xy, device)
    across, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    points = (
        corners[:, None, None, 0]
        + steps[None, None, :, None] * across[:, None, None]
        + steps[None, :, None, None] * down[:, None, None]
    )
    depth = (upload(np.array(layers, np.float32), device) + 0.5)[:, None, None, None].expand(*points.shape[:3], 1)
    grid = torch.cat([points, depth], -1) / upload(np.array([width, height, count], np.float32), device) * 2 - 1
    found = functional.grid_sample(rgb, grid[None], padding_mode="zeros", align_corners=False)[0]
    found = (found + padding[0]).transpose(0, 1) / 255
    return functional.avg_pool2d(found, multiple) if multiple > 1 else found
