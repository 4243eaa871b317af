"""Show settings without secrets, and check settings that a client sends."""

import re
from typing import Any, Final

import yaml
from pydantic import BaseModel

from maskstream.config.cameras import read_cameras
from maskstream.config.loading import Layer, load_config, read_yaml_text, text_keys
from maskstream.config.schema import Config
from maskstream.config.yaml_text import NOT_YAML
from maskstream.errors import ConfigError
from maskstream.redaction import HIDDEN, redact_text
from maskstream.web.camera_input import shown_url

_REFERENCES: Final = re.compile(r"(?:\$\{\w+\})+")
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


def shown_settings(settings: BaseModel) -> dict[str, Any]:
    """Return settings for JSON. Secrets are hidden; references such as `${NAME}` are kept."""
    fields = type(settings).model_fields
    return {name: _shown(getattr(settings, name), is_secret=not field.repr) for name, field in fields.items()}


def _shown(value: Any, *, is_secret: bool) -> Any:
    if isinstance(value, BaseModel):
        return shown_settings(value)
    if isinstance(value, list | tuple):
        return [_shown(each, is_secret=is_secret) for each in value]
    if isinstance(value, dict):
        return {str(key): _shown(each, is_secret=is_secret) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    return _hidden(value) if is_secret else redact_text(value)


def _hidden(secret: str) -> str:
    """Return a secret that is a reference, and the beginning of a URL: its path may be a token."""
    if _REFERENCES.fullmatch(secret):
        return secret
    authority = _AUTHORITY.match(shown_url(secret))
    if authority is None:
        return HIDDEN
    return authority[0] if authority[0] == shown_url(secret).rstrip("/") else f"{authority[0]}/{HIDDEN}"


def require_settings(text: str) -> None:
    """Refuse the text of a configuration file as the command line would.

    Raises:
        ConfigError: The text is wrong.
    """
    values = _yaml(text)
    if values is not None and not isinstance(values, dict):
        raise ConfigError("config: expected keys, as in configs/default.yaml")
    load_config(None, [Layer("config", values or {})])


def require_cameras(text: str, config: Config) -> None:
    """Refuse the text of a list of cameras as the command line would.

    Raises:
        MaskStreamError: The text is wrong.
    """
    _yaml(text)
    read_cameras(["cameras.yaml"], config, (), {"cameras.yaml": text})


def _yaml(text: str) -> Any:
    """Return the content of a YAML text without aliases, which could make a short text very large."""
    try:
        has_alias = any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
    except NOT_YAML:
        has_alias = False  # reported below
    if has_alias:
        raise ConfigError("config: aliases (*name) are not read here; write the values out")
    return read_yaml_text(text, "config", text_keys())
