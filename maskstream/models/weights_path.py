"""Find weights files."""

from pathlib import Path

from maskstream.io.resources import own_or_shipped, resource
from maskstream.io.user_folders import expand_home

WEIGHTS_DIR = resource("weights")
"""Folder of the shipped weights."""


def weights_path(given: str | None, shipped: str) -> Path:
    """Return the file that the user gave, or the shipped file."""
    return own_or_shipped(expand_home(given)) if given else WEIGHTS_DIR / shipped
