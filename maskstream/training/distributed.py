"""One training in several processes, as torchrun starts them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int
    world: int

    def share_of(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return every world-th item, from this rank on."""
        return items[self.rank :: self.world]

    def gathered(self, share: list[Any]) -> list[Any]:
        """Return the shares of all ranks in one list; each must call this."""
        if self.world == 1:
            return share
        parts: list[Any] = [None] * self.world
        distributed.all_gather_object(parts, share)
        return [each for part in parts for each in part]


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes that torchrun has started, if any."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(0, 1)
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    try:
        yield Ranks(distributed.get_rank(), world)
    finally:
        distributed.destroy_process_group()
