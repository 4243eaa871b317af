"""Ask what the CPU computes fast."""

import re
from functools import cache
from pathlib import Path
from typing import Final

_CPU_INFO: Final = Path("/proc/cpuinfo")
_INT8_FLAGS: Final = frozenset({"avx2", "asimddp"})
"""With these, OpenVINO is faster in int8 than in float32: AVX2 (more so with AVX-512, VNNI or AMX), ARM's dot product."""


def flags_of(cpu_info: str) -> frozenset[str]:
    """Return the flags of all processors in a text in the format of `/proc/cpuinfo`."""
    lines: list[str] = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpu_info, re.MULTILINE)
    return frozenset(flag for line in lines for flag in line.split())


@cache
def has_fast_int8() -> bool:
    """Return whether the CPU computes faster in int8 than in float32; False where the system is not Linux."""
    try:
        return bool(flags_of(_CPU_INFO.read_text(errors="replace")) & _INT8_FLAGS)
    except OSError:
        return False
