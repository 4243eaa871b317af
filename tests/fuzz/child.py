"""The process that reads damaged files, and may crash: python -m tests.fuzz.child MODULE TARGET SEED FIRST COUNT FOLDER.

It says what it does line by line: `begin N`, and `end N` or `fail N REASON`. Where it says no more, file N was its end.
"""

import faulthandler
import resource
import sys
import traceback
import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from time import process_time
from typing import Final

from loguru import logger

from maskstream.errors import MaskStreamError
from tests.fuzz.mutation import mutate
from tests.fuzz.targets import MB, Target

STACK: Final = "stack.txt"
"""Where the Python stack of a crash is left."""
_ADDRESS_SPACE_MB: Final = 4000
"""More than this, beyond what there is before the first file, is refused as a machine refuses it whose memory is full."""
_LONGEST_MESSAGE: Final = 5000
_NOTHING_DAMAGED: Final = -1


@dataclass(frozen=True)
class Samples:
    """Whole files in a folder, and damaged ones made of them."""

    folder: Path
    whole: dict[str, bytes]

    @classmethod
    def of(cls, target: Target, folder: Path) -> "Samples":
        """Let a target write its files."""
        folder.mkdir(parents=True)
        target.write(folder)
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        contents = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
        return cls(folder, {name: content for name, content in contents.items() if not name.endswith(target.spared)})

    def damaged(self, name: str, seed: int, number: int) -> tuple[str, bytes]:
        """Return the name and the content of damaged file `number` of a target."""
        random = Random(f"{name} {seed} {number}")
        chosen = random.choice(list(self.whole))
        content = whole = self.whole[chosen]
        while content == whole:
            content = mutate(whole, list(self.whole.values()), random)
        return chosen, content


def read(target: Target, folder: Path, name: str) -> str:
    """Read a file; return what was wrong about how that ended, or nothing."""
    _reset_peak()
    before_mb = _status_mb("VmRSS")
    _limit_cpu(target.cpu_s)
    try:
        target.read(folder, name)
    except target.errors as error:
        if isinstance(error, MaskStreamError) and ("\n" in str(error) or len(str(error)) > _LONGEST_MESSAGE):
            return f"a message of {len(str(error))} letters, {str(error)[:300]!r}"
    except Exception:
        return " ".join(line.strip() for line in traceback.format_exc().splitlines()[-5:])
    grown_mb = _status_mb("VmHWM") - before_mb
    return f"took {grown_mb} MB, at most {target.memory_mb} are allowed" if grown_mb > target.memory_mb else ""


def _limit_cpu(seconds: int) -> None:
    """End this process by SIGXCPU where it computes for longer."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(process_time()) + 1 + seconds, hard))


def _limit_address_space() -> None:
    limit = (_status_mb("VmSize") + _ADDRESS_SPACE_MB) * MB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _status_mb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) // 1024


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _say(line: str) -> None:
    print(line.replace("\n", " "), flush=True)  # noqa: T201 (the parent reads it)


def main(module: str, name: str, seed: int, first: int, count: int, folder: Path) -> None:
    """Read damaged files `first` to `first + count - 1`; before them the whole ones, which must be read without an error."""
    target: Target = import_module(module).TARGETS[name]
    warnings.simplefilter("ignore")
    logger.remove()
    logger.add(lambda _: None)
    samples = Samples.of(target, folder / "files")
    stack = (folder / STACK).open("w")
    faulthandler.enable(stack)
    for whole in samples.whole:
        _say(f"begin {_NOTHING_DAMAGED}")
        target.read(samples.folder, whole)
    _limit_address_space()
    for number in range(first, first + count):
        chosen, content = samples.damaged(name, seed, number)
        path = samples.folder / chosen
        path.write_bytes(content)
        _say(f"begin {number}")
        wrong = read(target, samples.folder, chosen)
        _say(f"fail {number} {wrong}" if wrong else f"end {number}")
        path.write_bytes(samples.whole[chosen])


if __name__ == "__main__":
    module, name, *numbers, folder = sys.argv[1:]
    main(module, name, *map(int, numbers), Path(folder))
