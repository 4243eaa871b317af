"""Where weights lie."""

from pathlib import Path

WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "weights"
"""The weights that come with the program."""


def weights_path(given: str | None, shipped: str) -> Path:
    """Return the file a user named, or the shipped one of this name."""
    return Path(given).expanduser() if given else WEIGHTS_DIR / shipped
