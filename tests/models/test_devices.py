"""The choice of a device by its name."""

import pytest
import torch
from loguru import logger

from maskstream.errors import ConfigError
from maskstream.models import devices
from maskstream.models.devices import pick_device


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch can use the GPU of this machine")
def test_a_gpu_that_pytorch_has_no_code_for_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is available, and its first kernel fails, as every call to CUDA does here. The reason is logged once."""
    monkeypatch.setattr(devices, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    devices._has_usable_gpu.cache_clear()
    lines: list[str] = []
    handler = logger.add(lines.append, level="WARNING", format="{message}")
    assert [pick_device("auto") for _ in range(2)] == ["cpu", "cpu"]
    logger.remove(handler)
    devices._has_usable_gpu.cache_clear()
    assert len(lines) == 1
    assert lines[0].startswith("device: auto: the GPU cannot be used (")
    assert lines[0].endswith("); the models run on the CPU\n")
    with pytest.raises(ConfigError, match=r"device: 'cuda' cannot be used here \("):
        pick_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "CPU", ""])
def test_a_name_that_is_not_known_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"device: '{name}' cannot be used here \(no such device\); allowed: auto, cpu, cuda"):
        pick_device(name)
