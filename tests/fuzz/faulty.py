"""Readers that do what none may do: what looks for faults must find these."""

import ctypes
from pathlib import Path
from time import sleep

from maskstream.errors import ConfigError
from tests.fuzz.targets import MB, Target

WHOLE = b"0123456789" * 10


def _write(folder: Path) -> None:
    (folder / "whole.txt").write_bytes(WHOLE)


def _is_damaged(folder: Path, name: str) -> bool:
    return (folder / name).read_bytes() != WHOLE


def _raises(folder: Path, name: str) -> None:
    if _is_damaged(folder, name):
        raise KeyError("what nobody has thought of")


def _crashes(folder: Path, name: str) -> None:
    if _is_damaged(folder, name):
        ctypes.string_at(0)


def _computes(folder: Path, name: str) -> None:
    while _is_damaged(folder, name):
        pass


def _hangs(folder: Path, name: str) -> None:
    while _is_damaged(folder, name):
        sleep(0.05)


def _hoards(folder: Path, name: str) -> int:
    return len(bytearray(200 * MB)) if _is_damaged(folder, name) else 0


def _explodes(folder: Path, name: str) -> int:
    return len(bytearray(20_000 * MB)) if _is_damaged(folder, name) else 0


def _babbles(folder: Path, name: str) -> None:
    if _is_damaged(folder, name):
        error = ConfigError("")
        error.args = ("two\nlines",)
        raise error


def _behaves(folder: Path, name: str) -> None:
    if _is_damaged(folder, name):
        raise ConfigError("whole.txt: damaged")


TARGETS = {
    "raises": Target(_write, _raises),
    "crashes": Target(_write, _crashes),
    "computes": Target(_write, _computes, cpu_s=1),
    "hangs": Target(_write, _hangs),
    "hoards": Target(_write, _hoards, memory_mb=100),
    "explodes": Target(_write, _explodes),
    "babbles": Target(_write, _babbles),
    "behaves": Target(_write, _behaves),
}
