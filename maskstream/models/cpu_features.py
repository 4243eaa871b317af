"""Ask what the CPU computes fast."""

import re
from functools import cache
from pathlib import Path
from typing import Final

_CPU_INFO: Final = Path("/proc/cpuinfo")
_INT8_FLAGS: Final = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})
"""Instructions that multiply and add 8-bit integers: Intel and AMD (VNNI, AMX), ARM (dot product)."""


def flags_of(cpu_info: str) -> frozenset[str]:
    """Return the flags of all processors in a text in the format of `/proc/cpuinfo`."""
    lines: list[str] = re.findall(r"^(?:flags|Features)\s*:(.*)$", cpu_info, re.MULTILINE)
    return frozenset(flag for line in lines for flag in line.split())


@cache
def has_fast_int8() -> bool:
    """Return whether the CPU has instructions for products of 8-bit integers; False where the system is not Linux."""
    try:
        return bool(flags_of(_CPU_INFO.read_text(errors="replace")) & _INT8_FLAGS)
    except OSError:
        return False
