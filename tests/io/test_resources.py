"""What comes with the program is found from every folder."""

from pathlib import Path

import pytest

from maskstream.io.resources import own_or_shipped, resource
from maskstream.models.weights_path import weights_path
from tests.conftest import ROOT


def test_a_checkout_has_them_beside_the_package() -> None:
    assert resource("configs/default.yaml") == ROOT / "configs" / "default.yaml"
    assert (resource("weights") / "manifest.json").is_file()


@pytest.mark.parametrize("path", ["configs/coco.yaml", "./weights/manifest.json"])
def test_a_shipped_file_has_its_name_in_every_folder(folder: Path, path: str) -> None:
    assert own_or_shipped(path) == ROOT / path


def test_the_users_own_file_comes_first(folder: Path) -> None:
    (folder / "configs").mkdir()
    (folder / "configs" / "coco.yaml").touch()
    assert own_or_shipped("configs/coco.yaml") == Path("configs/coco.yaml")


@pytest.mark.parametrize(
    "path", ["", "mine.yaml", "configs/mine.yaml", "README.md", "/configs/coco.yaml", "../configs/coco.yaml"]
)
def test_all_else_stays_as_it_is_given(folder: Path, path: str) -> None:
    assert own_or_shipped(path) == Path(path)


def test_weights_have_their_name_in_every_folder(folder: Path) -> None:
    shipped = ROOT / "weights" / "mask_mobilenet.safetensors"
    assert weights_path(None, "mask_mobilenet.safetensors") == shipped
    assert weights_path("weights/mask_mobilenet.safetensors", "mask_resnet18.safetensors") == shipped
    assert weights_path("mine.safetensors", "mask_resnet18.safetensors") == Path("mine.safetensors")
