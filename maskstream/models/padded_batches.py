"""Run a Keypoint R-CNN on batches of a few fixed sizes, with two copies to the host for each batch."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import torch

from maskstream.errors import OutOfMemory
from maskstream.models.detections import RawDetections
from maskstream.models.gpu_images import upload
from maskstream.models.out_of_memory import memory_errors
from maskstream.models.padded_boxes import at_least
from maskstream.models.padded_rcnn import PaddedRCNN
from maskstream.types import FloatArray

BATCH_SIZES: Final = (1, 2, 4, 8, 16, 32)
"""A batch is padded to the next of these with empty images; a larger batch is divided. For each size, kernels are chosen once."""
FACE_SLOTS: Final = (8, 32, 128, 512, 2048, 8192)
"""Numbers of faces of a batch that the keypoint head runs on, and the most that it can have; those beyond the last face are not
used."""
_ALL_ROUNDS: Final = 2**31
"""More than boxes can be: `suppress` then always finishes."""
_WARM_SLOTS: Final = FACE_SLOTS[:3]


class PaddedBatches:
    """Finds the faces of any number of images with a `PaddedRCNN`."""

    def __init__(self, network: PaddedRCNN, divisor: int, keypoints: int) -> None:
        """Share a network.

        Args:
            network: Its two stages.
            divisor: The sides of a batch are padded to multiples of this.
            keypoints: Number of keypoints of a face.
        """
        self._network = network
        self._divisor = divisor
        self._keypoints = keypoints

    def forget(self) -> None:
        """Follow changed numbers in the module."""
        with self._network.exclusive:
            self._network.forget()

    @torch.inference_mode()
    def warm_up(self, size_hw: tuple[int, int], most: int, device: torch.device) -> None:
        """Run empty batches up to a size, so that kernels are chosen before the first frame, as far as the memory allows.

        Args:
            size_hw: Height and width of the scaled images.
            most: Number of images of the largest batch; 0 for none.
            device: Of the network.
        """
        largest = at_least(min(most, BATCH_SIZES[-1]), (0, *BATCH_SIZES))
        blank = torch.zeros(3, *size_hw, device=device)
        with suppress(OutOfMemory), memory_errors(), self._network.exclusive:
            for count in (each for each in BATCH_SIZES if each <= largest):
                batch, sizes = self._padded([blank] * count, [size_hw] * count)
                faces = self._network.find_faces(batch, sizes)
                for slots in _WARM_SLOTS:
                    self._network.find_keypoints(faces, batch.shape[-1], min(slots, faces.scores.numel())).cpu()

    def find(self, images_rgb: Sequence[torch.Tensor], sizes_hw: Sequence[tuple[int, int]]) -> list[RawDetections | None]:
        """Return the faces of each scaled image (3, h, w) in [0, 1]; None where a feature of the image is not finite."""
        found: list[RawDetections | None] = []
        for at in range(0, len(images_rgb), BATCH_SIZES[-1]):
            some = slice(at, at + BATCH_SIZES[-1])
            summary, points = self._run(*self._padded(images_rgb[some], sizes_hw[some]))
            found += self._split(summary, points)[: len(images_rgb[some])]
        return found

    def _run(self, batch: torch.Tensor, sizes_hw: torch.Tensor) -> tuple[FloatArray, FloatArray]:
        """Return the summary of `PaddedFaces` and the keypoints (F, 3 K) of all F faces on the host."""
        with self._network.exclusive:
            faces = self._network.find_faces(batch, sizes_hw)
            summary: FloatArray = faces.summary.cpu().numpy()
            if not summary[:, -1].all():  # a chain of boxes that suppress each other was too long
                faces = self._network.find_faces(batch, sizes_hw, _ALL_ROUNDS)
                summary = faces.summary.cpu().numpy()
            count = int((_scores(summary) >= 0).sum())
            if count == 0:
                return summary, np.zeros((0, 3 * self._keypoints), np.float32)
            room = faces.scores.numel()
            slots = min(at_least(count, (*FACE_SLOTS, room)), room)
            return summary, self._network.find_keypoints(faces, batch.shape[-1], slots).cpu().numpy()[:count]

    def _split(self, summary: FloatArray, points: FloatArray) -> list[RawDetections | None]:
        scores, found = _scores(summary), list[RawDetections | None]()
        counts = (scores >= 0).sum(1)
        for row, of_image in enumerate(np.split(points, counts.cumsum()[:-1])):
            boxes = summary[row, : 4 * counts[row]].reshape(-1, 4)
            xy, logits = np.split(of_image, [2 * self._keypoints], axis=1)
            raw = RawDetections(boxes, scores[row, : counts[row]], xy.reshape(-1, self._keypoints, 2), logits)
            found.append(raw if summary[row, -2] else None)
        return found

    def _padded(
        self, images_rgb: Sequence[torch.Tensor], sizes_hw: Sequence[tuple[int, int]]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch (N, 3, H, W) of one of the fixed sizes, and the heights and widths (N, 2) of its images."""
        device, count = images_rgb[0].device, at_least(len(images_rgb), BATCH_SIZES)
        height, width = (-(-max(sides) // self._divisor) * self._divisor for sides in zip(*sizes_hw, strict=True))
        batch = torch.zeros(count, 3, height, width, device=device).contiguous(memory_format=torch.channels_last)
        for index, image in enumerate(images_rgb):
            batch[index, :, : image.shape[1], : image.shape[2]] = image
        sizes = np.zeros((count, 2), np.float32)
        sizes[: len(sizes_hw)] = sizes_hw
        return batch, upload(sizes, device)


def _scores(summary: FloatArray) -> FloatArray:
    """Return the scores (N, D) in a summary of `PaddedFaces`."""
    room = (summary.shape[1] - 2) // 5
    return summary[:, 4 * room : 5 * room]
