from pathlib import Path

import pytest

from maskstream.errors import ConfigError
from maskstream.evaluation.sets import read_sets
from tests.conftest import ROOT

STREET = "- {name: street, images: images, labels: labels.json"


def write(folder: Path, text: str) -> Path:
    path = folder / "sets.yaml"
    path.write_text(text)
    return path


def test_the_example_has_three_sets_with_paths_relative_to_its_folder() -> None:
    entrance, heads, nobody = read_sets(ROOT / "configs" / "evaluation_sets.example.yaml")
    assert (entrance.name, entrance.images, entrance.iou) == ("entrance", ROOT / "configs" / "entrance" / "images", 0.3)
    assert (heads.labels, heads.format, heads.box, heads.iou) == (
        ROOT / "configs" / "heads" / "labels.json",
        "coco",
        "head",
        None,
    )
    assert (nobody.labels, nobody.unlabelled, nobody.group_by) == (None, "negative", None)


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    (found,) = read_sets(write(tmp_path, "- {name: 7, images: /photos, unlabelled: negative}"))
    assert (found.name, found.images) == ("7", Path("/photos"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: street", "sets.yaml: not a list of sets; see configs/evaluation_sets.example.yaml"),
        ("[]", "not a list of sets"),
        ("- street", "set 1: expected name, images and labels"),
        ("- {images: a, labels: b}", "set 1: name is missing"),
        ("- {name: ../street, images: a, labels: b}", "set 1: name: '../street' is not a name of a folder"),
        ("- {name: street, labels: b}", "set 1 (street): images is missing"),
        ("- {name: street, images: a}", "set 1 (street): labels is missing; give the labels, or unlabelled: negative"),
        (f"{STREET}, boxes: head}}", "set 1: unknown key boxes; did you mean box?"),
        (f"{STREET}, box: hat}}", "set 1: box: 'hat' is not allowed"),
        (f"{STREET}, iou: wide}}", "set 1: iou: 'wide' is not allowed"),
        (f"{STREET}}}\n- {{name: Street, images: a, labels: b}}", "name: Street is given twice"),
    ],
)
def test_an_error_names_the_set_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_sets(write(tmp_path, text))
    assert said in str(refused.value)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sets\.yaml: cannot be read"):
        read_sets(tmp_path / "sets.yaml")
