"""Train in several processes that torchrun starts."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed


@dataclass(frozen=True)
class ProcessGroup:
    """The rank of this process, and the number of processes that train together."""

    rank: int
    world_size: int

    def shard(self, items: Sequence[Any]) -> Sequence[Any]:
        """Return every `world_size`-th item, beginning with item `rank`."""
        return items[self.rank :: self.world_size]

    def largest(self, value: float) -> float:
        """Return the largest value of all processes. Every process must call this."""
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device="cuda" if distributed.get_backend() == "nccl" else "cpu")
        distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
        return float(tensor)

    def gather(self, shard: list[Any]) -> list[Any]:
        """Return the shards of all processes in one list. Every process must call this."""
        if self.world_size == 1:
            return shard
        shards: list[Any] = [None] * self.world_size
        distributed.all_gather_object(shards, shard)
        return [item for each in shards for item in each]


@contextmanager
def process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun has started. Without torchrun the group is this process alone."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ProcessGroup(rank=0, world_size=1)
        return
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # NCCL moves objects and numbers through the current GPU, which is the first one otherwise
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(minutes=30))
    try:
        yield ProcessGroup(distributed.get_rank(), world_size)
    finally:
        distributed.destroy_process_group()
