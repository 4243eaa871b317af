import json
from pathlib import Path

import pytest
import torch
from loguru import logger
from safetensors.torch import save_file

from maskstream.errors import ModelError, SinkError, WeightsError
from maskstream.models.checkpoint import load_checkpoint, load_into, save_checkpoint
from maskstream.models.metadata import MANIFEST
from tests.conftest import ROOT
from tests.toy import TOY_METADATA

STATE = {"weight": torch.linspace(-1, 1, 6).reshape(2, 3), "steps": torch.tensor(7)}


def test_a_checkpoint_comes_back_as_it_was_saved_in_half_precision(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, STATE, TOY_METADATA)
    state, metadata = load_checkpoint(path, "toy")
    assert metadata == TOY_METADATA
    assert state["weight"].dtype == torch.float32
    assert torch.equal(state["weight"], STATE["weight"].half().float())
    assert state["steps"].item() == 7
    assert json.loads((tmp_path / MANIFEST).read_text()).keys() == {"toy.safetensors"}
    assert sorted(file.name for file in tmp_path.iterdir()) == [MANIFEST, "toy.safetensors"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), 1e6])
def test_weights_that_float16_cannot_hold_do_not_replace_good_ones(tmp_path: Path, value: float) -> None:
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, STATE, TOY_METADATA)
    with pytest.raises(ModelError, match=r"toy\.safetensors: not written: weight is not finite in float16; train with a lower"):
        save_checkpoint(path, STATE | {"weight": torch.tensor([1.0, value])}, TOY_METADATA)
    assert torch.equal(load_checkpoint(path, "toy")[0]["steps"], STATE["steps"])


def save_damaged(path: Path) -> None:
    save_checkpoint(path, STATE, TOY_METADATA)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_damaged_file_is_refused_by_its_sum(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_damaged(path)
    with pytest.raises(WeightsError, match=r"toy\.safetensors: damaged, its SHA-256"):
        load_checkpoint(path, "toy")


def test_a_damaged_file_is_refused_without_a_manifest(tmp_path: Path) -> None:
    save_damaged(tmp_path / "toy.safetensors")
    (tmp_path / "elsewhere").mkdir()
    copy = (tmp_path / "toy.safetensors").rename(tmp_path / "elsewhere" / "copy.safetensors")
    with pytest.raises(WeightsError, match=r"copy\.safetensors: damaged, the SHA-256 of its tensors"):
        load_checkpoint(copy, "toy")


def test_a_file_outside_a_manifest_loads_with_a_word(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, STATE, TOY_METADATA)
    (tmp_path / MANIFEST).write_text("{}")
    said: list[str] = []
    handler = logger.add(lambda message: said.append(str(message)), level="WARNING")
    load_checkpoint(path, "toy")
    logger.remove(handler)
    assert "cannot be checked" in said[0]


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, STATE, TOY_METADATA)
    with pytest.raises(WeightsError, match="contains a 'toy', not a 'mask_resnet18'"):
        load_checkpoint(path, "mask_resnet18")


def test_missing_metadata_is_refused_and_named(tmp_path: Path) -> None:
    path = tmp_path / "bare.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match=r"metadata is missing or not valid \(architecture"):
        load_checkpoint(path, "toy")


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"], ids=["empty", "text"])
def test_what_is_no_safetensors_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        load_checkpoint(path, "toy")


def test_a_missing_file_and_a_broken_manifest_are_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such weights file"):
        load_checkpoint(tmp_path / "none.safetensors", "toy")
    save_checkpoint(tmp_path / "toy.safetensors", STATE, TOY_METADATA)
    for damage in (b"[", b"[]", b"\xff{}", b"null", b"[" * 100_000):
        (tmp_path / MANIFEST).write_bytes(damage)
        with pytest.raises(WeightsError, match="not a readable manifest"):
            load_checkpoint(tmp_path / "toy.safetensors", "toy")
        with pytest.raises(WeightsError, match="not a readable manifest"):
            save_checkpoint(tmp_path / "toy.safetensors", STATE, TOY_METADATA)


def test_an_unwritable_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot be made a folder"):
        save_checkpoint(tmp_path / "file" / "toy.safetensors", STATE, TOY_METADATA)


def test_the_first_misfit_is_named() -> None:
    with pytest.raises(WeightsError, match=r"x: weights of another architecture \(Missing key.*weight"):
        load_into(torch.nn.Linear(3, 2), {"bias": torch.zeros(2)}, "x")


@pytest.mark.parametrize(("name", "megabytes"), [("face_mobilenet", 20), ("mask_mobilenet", 23), ("mask_resnet18", 23)])
def test_shipped_weights_are_small_and_listed(name: str, megabytes: int) -> None:
    path = ROOT / "weights" / f"{name}.safetensors"
    _, metadata = load_checkpoint(path, name)
    assert path.stat().st_size < megabytes * 1e6
    assert path.name in json.loads((path.parent / MANIFEST).read_text())
    assert metadata.figures
