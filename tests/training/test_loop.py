import itertools
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from maskstream.errors import ModelError, SinkError, SourceError, WeightsError
from maskstream.models.checkpoint import load_checkpoint
from maskstream.training import loop
from maskstream.training.distributed import ProcessGroup, process_group
from maskstream.training.loop import Trainer
from maskstream.training.task import Run
from tests import command_lines
from tests.command_lines import ROOT, Forked
from tests.receivers import wait_until
from tests.slowness import LONGEST_S
from tests.training.lines import LineTask

CPU = torch.device("cpu")
CHILD = Path(__file__).with_name("loop_child.py")


class Killed(Exception):
    """Stands for a kill between two steps: nothing of the trainer runs after it."""


def run_in(folder: Path, **changed: Any) -> Run:
    folder.mkdir(exist_ok=True)
    plain = Run(folder / "line.safetensors", folder, CPU, "python train.py", "sum of the data", lambda done, total: None)
    return replace(plain, **changed)


def train(task: LineTask, run: Run) -> list[dict[str, Any]]:
    return Trainer(task, run, ProcessGroup(0, 1)).train()


def kill_at(step: int) -> Any:
    def tick(done: int, total: int) -> None:
        if done == step:
            raise Killed

    return tick


@pytest.mark.slow
def test_a_line_is_learnt(tmp_path: Path) -> None:
    history = train(LineTask(epochs=6, samples_per_epoch=80), run_in(tmp_path))
    assert history[-1]["figures"]["fit"] > -0.1
    assert sum(history[-1]["losses"].values()) < sum(history[0]["losses"].values()) / 3


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 5, 7])
def test_a_killed_training_goes_on_as_if_nothing_had_happened(tmp_path: Path, step: int) -> None:
    whole = train(LineTask(), run_in(tmp_path / "whole"))
    with pytest.raises(Killed):
        train(LineTask(), run_in(tmp_path / "killed", tick=kill_at(step)))
    resumed = train(LineTask(), run_in(tmp_path / "killed"))
    without_time = [[{**entry, "seconds": 0} for entry in history] for history in (whole, resumed)]
    assert without_time[0] == without_time[1]
    for name in ("line.safetensors", "last.safetensors"):
        expected, _ = load_checkpoint(tmp_path / "whole" / name, "line")
        found, _ = load_checkpoint(tmp_path / "killed" / name, "line")
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


def test_a_training_that_has_ended_is_not_repeated(tmp_path: Path) -> None:
    first = train(LineTask(), run_in(tmp_path))
    again = LineTask()
    assert train(again, run_in(tmp_path)) == first
    assert again.seen == []


def test_every_sample_is_seen_once_and_in_order(tmp_path: Path) -> None:
    task = LineTask()
    train(task, run_in(tmp_path))
    assert task.seen == list(range(80))


def test_the_best_weights_are_kept_and_the_last(tmp_path: Path) -> None:
    class Worsening(LineTask):
        def validate(self, predicted: Any) -> dict[str, float]:
            self.validated = getattr(self, "validated", 0) + 1
            return {"fit": [0.9, 0.2][self.validated - 1]}

    history = train(Worsening(), run_in(tmp_path))
    assert [entry["best"] for entry in history] == [True, False]
    assert load_checkpoint(tmp_path / "line.safetensors", "line")[1].figures == {"fit": 0.9}
    assert load_checkpoint(tmp_path / "last.safetensors", "line")[1].figures == {"fit": 0.2}


def test_history_and_curves_lie_beside_the_weights(tmp_path: Path) -> None:
    history = train(LineTask(), run_in(tmp_path))
    written = json.loads((tmp_path / "line.history.json").read_text())
    assert written["epochs"] == history
    assert written["command"] == "python train.py"
    assert written["recipe"]["learning_rate"] == 0.2
    assert (tmp_path / "line.curves.png").read_bytes().startswith(b"\x89PNG")


def test_each_set_is_validated_after_each_epoch(tmp_path: Path, said: list[str]) -> None:
    history = train(LineTask(), run_in(tmp_path))
    assert [set(entry["by_set"]) for entry in history] == [{"left", "right"}] * 2
    last = {name: metrics["mean"] for name, metrics in history[-1]["by_set"].items()}
    assert last["left"] < last["right"]  # the line rises
    line = f"epoch 2 by set: left mean {last['left']:.3f}; right mean {last['right']:.3f}"
    assert any(line in logged for logged in said)
    assert json.loads((tmp_path / "line.history.json").read_text())["epochs"][-1]["by_set"] == history[-1]["by_set"]


def test_the_learning_rate_warms_up_and_falls(tmp_path: Path) -> None:
    trainer = Trainer(LineTask(epochs=10, warmup_steps=10), run_in(tmp_path), ProcessGroup(0, 1))
    rates = []
    for step in range(51):
        trainer._step = step
        rates.append(trainer._rate())
    assert rates[:10] == pytest.approx([0.02 * (step + 1) for step in range(10)])
    assert rates[30] == pytest.approx(0.2 * (0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2))
    assert rates[50] == pytest.approx(0.002)
    assert sorted(rates[9:], reverse=True) == rates[9:]


def test_what_is_judged_is_the_moving_average(tmp_path: Path) -> None:
    def difference(decay: float) -> float:
        trainer = Trainer(LineTask(ema_decay=decay, epochs=1), run_in(tmp_path / str(decay)), ProcessGroup(0, 1))
        trainer.train()
        pairs = zip(trainer._average.module.parameters(), trainer._task.module.parameters(), strict=True)
        return sum(float((average - last).detach().abs().sum()) for average, last in pairs)

    assert difference(0.0) == 0
    assert difference(0.5) > 0.01


def test_another_recipe_does_not_go_on_from_this_state(tmp_path: Path) -> None:
    train(LineTask(), run_in(tmp_path))
    for task, run in ((LineTask(learning_rate=0.1), run_in(tmp_path)), (LineTask(), run_in(tmp_path, data_sha256="other"))):
        with pytest.raises(
            WeightsError, match=r"state\.pt: state of another recipe or other data; delete it or give another --run"
        ):
            train(task, run)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    train(LineTask(), run_in(tmp_path))
    state = tmp_path / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"state\.pt: damaged; delete it to start again"):
        train(LineTask(), run_in(tmp_path))


@pytest.mark.parametrize(
    ("step", "epoch", "kept"),
    [(3, 1, "no weights are kept"), (5, 1, "no weights are kept"), (6, 2, "keeps the weights of epoch 1")],
)
def test_a_gradient_that_is_not_finite_ends_the_training(tmp_path: Path, step: int, epoch: int, kept: str) -> None:
    class Diverging(LineTask):
        def losses(self, module: Any, batch: Any, device: Any) -> dict[str, torch.Tensor]:
            found = super().losses(module, batch, device)
            return {**found, "square": found["square"] * (math.nan if len(self.seen) == 8 * step else 1)}

    said = rf"^training has diverged in epoch {epoch}, step {step}: the gradient is not finite \(square nan\); .*{kept}; lower "
    with pytest.raises(ModelError, match=said) as caught:
        train(Diverging(), run_in(tmp_path))
    assert "learning_rate (0.2) and give another --run than" in str(caught.value)
    assert caught.value.exit_code == 4
    assert (tmp_path / "line.safetensors").exists() == (epoch == 2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["step"] == step - 1
    assert all(torch.isfinite(tensor).all() for tensor in state["module"].values())
    assert train(LineTask(), run_in(tmp_path))[-1]["epoch"] == 2  # what was before it is still good


def test_a_figure_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    class Unjudged(LineTask):
        def validate(self, predicted: Any) -> dict[str, float]:
            figures = super().validate(predicted)
            return {**figures, "temperature": 1.0 if len(self.seen) <= 40 else math.inf}

    said = r"^training has diverged in epoch 2, step 10: the validation is not finite \(temperature inf\); .*\.safetensors keeps"
    with pytest.raises(ModelError, match=said):
        train(Unjudged(), run_in(tmp_path))
    assert math.isfinite(load_checkpoint(tmp_path / "line.safetensors", "line")[1].figures["fit"])
    history = json.loads((tmp_path / "line.history.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert [entry["epoch"] for entry in history["epochs"]] == [1]


@pytest.mark.parametrize(("factor", "warns"), [(1, False), (20, True)])
def test_a_loss_that_rises_is_reported(tmp_path: Path, said: list[str], factor: int, warns: bool) -> None:
    class Rising(LineTask):
        def losses(self, module: Any, batch: Any, device: Any) -> dict[str, torch.Tensor]:
            found = super().losses(module, batch, device)
            return {**found, "square": found["square"] * (factor if len(self.seen) > 40 else 1)}

    history = train(Rising(), run_in(tmp_path))
    first, second = (sum(entry["losses"].values()) for entry in history)
    wanted = f"WARNING epoch 2: the loss {second:.3f} is more than 2 times the lowest one before ({first:.3f}); if it stays high"
    assert [line.startswith(wanted) for line in said if line.startswith("WARNING")] == [True] * warns


def test_weights_that_are_not_finite_are_neither_judged_nor_saved(tmp_path: Path) -> None:
    task = LineTask(save_every_s=1000.0)

    def spoil(done: int, total: int) -> None:
        if done == 7:
            with torch.no_grad():
                task.module[0].bias[3] = math.inf

    with pytest.raises(ModelError, match=r"diverged in epoch 2, step 8: the gradient is not finite"):
        train(task, run_in(tmp_path / "trained", tick=spoil))
    trainer = Trainer(LineTask(), run_in(tmp_path), ProcessGroup(0, 1))
    trainer._average.module[0].bias.data[3] = math.nan
    trainer._step = 5
    with pytest.raises(ModelError, match=r"diverged in epoch 1, step 5: the weight 0\.bias is not finite; no weights are kept"):
        trainer._finish_epoch(1.0)
    assert not (tmp_path / "line.safetensors").exists()
    assert not (tmp_path / "state.pt").exists()


def test_an_ended_training_whose_weights_are_gone_is_no_success(tmp_path: Path) -> None:
    train(LineTask(), run_in(tmp_path))
    (tmp_path / "line.safetensors").unlink()
    with pytest.raises(
        WeightsError, match=r"line\.safetensors: does not exist, but its training has finished; delete .*state\.pt to train again"
    ):
        train(LineTask(), run_in(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_vanishes_is_said_in_one_line(tmp_path: Path, workers: int) -> None:
    class Vanishing(LineTask):
        def sample(self, number: int) -> tuple[float, float]:
            if number == 12:
                raise SourceError("a.png: cannot be read: No such file or directory; check the file")
            return super().sample(number)

    cv2.warpAffine(
        np.zeros((2000, 2000, 3), np.uint8), np.eye(2, 3), (2000, 2000)
    )  # starts the threads of OpenCV, which a fork does not have
    before = cv2.getNumThreads()
    with pytest.raises(SourceError, match=r"^a\.png: cannot be read: No such file or directory; check the file$"):
        train(Vanishing(workers=workers), run_in(tmp_path))
    assert cv2.getNumThreads() == before


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    with pytest.raises(SinkError, match=r"gone/state\.pt: cannot be written"):
        train(LineTask(), replace(run, folder=tmp_path / "gone"))


def child(folder: Path, *before: str) -> list[str]:
    return [sys.executable, *before, str(CHILD), str(folder)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_a_real_kill_loses_nothing_but_time(tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    folder.mkdir()
    with Forked(child(folder), env=environment() | {"HANGS_AT": "3"}, stderr=subprocess.DEVNULL) as process:
        wait_until((folder / "state.pt").exists)
        process.send_signal(signal.SIGKILL)
    assert not (folder / "line.safetensors").exists()
    done = command_lines.run(child(folder), env=environment())
    assert done.returncode == 0, done.stderr
    train(LineTask(), run_in(tmp_path / "whole"))
    expected, _ = load_checkpoint(tmp_path / "whole" / "line.safetensors", "line")
    found, _ = load_checkpoint(folder / "line.safetensors", "line")
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    folder = tmp_path / "two"
    folder.mkdir()
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        child(folder, *torchrun), env=environment(), timeout=LONGEST_S, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = [json.loads((folder / f"seen_{rank}.json").read_text()) for rank in range(2)]
    assert sorted(seen[0] + seen[1]) == list(range(80))
    sums = [(folder / f"sum_{rank}.txt").read_text() for rank in range(2)]
    assert sums[0] == sums[1]
    assert len(json.loads((folder / "line.history.json").read_text())["epochs"]) == 2


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_the_precision_is_that_of_the_forward_pass(tmp_path: Path, precision: str, dtype: torch.dtype) -> None:
    task = LineTask(precision=precision)
    seen: set[torch.dtype] = set()
    task.module.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype) if module.training else None)
    history = train(task, run_in(tmp_path))
    assert seen == {dtype}
    assert sum(history[-1]["losses"].values()) < sum(history[0]["losses"].values())
    assert {tensor.dtype for tensor in task.module.state_dict().values()} == {torch.float32}


def test_a_process_of_a_training_on_gpus_chooses_its_own_before_it_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    """NCCL moves objects through the current GPU, which is the first one otherwise. No group is joined here."""
    calls: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: calls.append(str(device)))
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda backend, **_: calls.append(backend))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "destroy_process_group", lambda: calls.append("left"))
    with process_group(torch.device("cuda", 1)) as group:
        assert (group.rank, group.world_size) == (1, 2)
    assert calls == ["cuda:1", "nccl", "left"]


def test_a_time_limit_ends_a_training_with_a_low_learning_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(loop, "monotonic", lambda: float(next(seconds)))  # each reading of the clock is a second later
    task = LineTask(epochs=50, samples_per_epoch=80, max_minutes=0.4)
    ticks: list[tuple[int, int]] = []
    history = train(task, run_in(tmp_path, tick=lambda *steps: ticks.append(steps)))
    assert len(history) == math.ceil(len(task.seen) / 80) < 50
    assert ticks == [(step, 24) for step in range(1, 25)]  # the progress bar ends with the training
    assert history[-1]["learning_rate"] == pytest.approx(0.01 * 0.2)
    assert (tmp_path / "line.safetensors").exists()
