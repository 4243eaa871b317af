"""Where weights lie."""

from pathlib import Path

from maskstream.io.resources import own_or_shipped, resource
from maskstream.io.user_folders import expand_home

WEIGHTS_DIR = resource("weights")
"""The weights that come with the program."""


def weights_path(given: str | None, shipped: str) -> Path:
    """Return the file a user named, or the shipped one of this name."""
    return own_or_shipped(expand_home(given)) if given else WEIGHTS_DIR / shipped
