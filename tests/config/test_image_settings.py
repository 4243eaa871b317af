"""The settings for images, of which large ones are detected in two sizes."""

import pytest

from maskstream.config.image_settings import for_images
from maskstream.config.loading import Layer, load_config


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "auto"),
        ({"short_side": 256}, 256),
        ({"short_side": "auto"}, "auto"),
        ({"name": "coco_resnet50"}, None),
    ],
)
def test_images_have_auto_where_the_user_chose_no_size(given: dict[str, object], expected: object) -> None:
    config = load_config(layers=[Layer.of_key("test", "detector", given)])
    changed = for_images(config)
    assert changed.detector.short_side == expected
    assert changed.model_dump(exclude={"detector": {"short_side"}}) == config.model_dump(exclude={"detector": {"short_side"}})
