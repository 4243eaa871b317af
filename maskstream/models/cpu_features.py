"""Ask what the CPU computes fast."""

import re
from functools import cache
from pathlib import Path
from typing import Final

_CPU_INFO: Final = Path("/proc/cpuinfo")
_INT8_FLAGS: Final = frozenset({"avx2", "asimddp"})
"""With these, OpenVINO is faster in int8 than in float32: AVX2 (more so with AVX-512 or VNNI), ARM's dot product."""


def flags_of(cpu_info: str) -> frozenset[str]:
    """Return the flags of all processors in a text in the format of `/proc/cpuinfo`."""
    lines: list[str] = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpu_info, re.MULTILINE)
    return frozenset(flag for line in lines for flag in line.split())


def has_fast_int8() -> bool:
    """Return whether the CPU computes faster in int8 than in float32; False where the system is not Linux."""
    return bool(_flags() & _INT8_FLAGS)


def has_amx() -> bool:
    """Return whether the CPU has Intel's matrix instructions AMX; False where the system is not Linux."""
    return "amx_tile" in _flags()


@cache
def _flags() -> frozenset[str]:
    try:
        return flags_of(_CPU_INFO.read_text(errors="replace"))
    except OSError:
        return frozenset()
