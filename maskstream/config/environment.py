"""Replace `${NAME}` in addresses and secrets by environment variables."""

import os
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from maskstream.errors import ConfigError

_PLACEHOLDER: Final = re.compile(r"\$\{([^}]*)\}?")
_URL_PARTS: Final = re.compile(r"(?s)^((?:\w+://)?)((?:[^/?#]*@)?)(.*)")


def expand(url: str, origin: str) -> str:
    """Return a URL with each `${NAME}` replaced by the environment variable; special characters in user and password are escaped.

    White space around a value is removed, because the file of a secret ends with a newline.

    Args:
        url: A URL, or any other text.
        origin: The setting or list that contains it, for the message.

    Raises:
        ConfigError: A variable is not set.
    """

    def fill(text: str, escape: Callable[[str], str]) -> str:
        return _PLACEHOLDER.sub(lambda found: escape(_variable(found[1], origin)), text)

    parts: tuple[str, str, str] = _URL_PARTS.findall(url.strip())[0]
    scheme, user, rest = parts
    return scheme + fill(user, lambda value: quote(value, safe="")) + fill(rest, str)


def _variable(name: str, origin: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ConfigError(f"{origin}: the environment variable {name or '${}'} is not set; export it first")
    return value.strip()
