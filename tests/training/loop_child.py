"""Trains a line in a process of its own, or one of several that torchrun has started: python loop_child.py FOLDER."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

from maskstream.training.distributed import process_group
from maskstream.training.loop import Trainer
from maskstream.training.task import Run
from tests.training.lines import LineTask


def tick(done: int, total: int) -> None:
    if os.environ.get("HANGS_AT") == str(done):
        signal.pause()


folder = Path(sys.argv[1])
task = LineTask()
with process_group(torch.device("cpu")) as group:
    run = Run(folder / "line.safetensors", folder, torch.device("cpu"), "python train.py", "sum of the data", tick)
    Trainer(task, run, group).train()
(folder / f"seen_{group.rank}.json").write_text(json.dumps(task.seen))
(folder / f"sum_{group.rank}.txt").write_text(str([tensor.sum().item() for tensor in task.module.parameters()]))
