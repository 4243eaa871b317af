from pathlib import Path

import pytest

from maskstream import MaskPipeline
from maskstream.types import Frame
from tests.training.labelled import annotate


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory, pipeline: MaskPipeline, demo_frames: list[Frame]) -> Path:
    """Two pictures with three faces each, in val.json beside them; not to be changed."""
    folder = tmp_path_factory.mktemp("photos")
    annotate(pipeline, demo_frames[::25], folder)
    return folder
