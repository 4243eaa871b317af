"""Check in sections that a GPU gives the results of the CPU, and time it. A section that cannot run is skipped with a reason."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from maskstream import __version__
from maskstream.errors import ConfigError, MaskStreamError
from maskstream.io.files import replace_file

if TYPE_CHECKING:
    from maskstream.benchmark.gpu_setup import Check

Section = Callable[["Check"], dict[str, Any]]

BUDGET_S: Final = 420.0
_NAMES_TO_INSTALL: Final = {"cv2": "opencv-python", "PIL": "pillow", "yaml": "pyyaml", "sklearn": "scikit-learn"}


@dataclass(frozen=True)
class GpuCheckRequest:
    """The options of `maskstream gpu-check`."""

    device: str = "cuda"
    images: Path | None = None
    """Folder of images to compare in addition to the frames of the clip."""
    json: Path | None = None
    """File for the results, written after each step."""
    budget_s: float = BUDGET_S
    """No section begins after this time."""
    quick: bool = False
    """Use few and small images, only to test that everything runs."""
    sections: tuple[str, ...] = ()
    """Names of sections; empty for all."""


def sections() -> dict[str, Section]:
    """Return the sections in order; imports the packages of the models."""
    from maskstream.benchmark import gpu_cameras, gpu_equivalence, gpu_memory, gpu_speed, gpu_video

    return {
        "device": gpu_speed.ceilings,
        "equivalence": gpu_equivalence.equivalence,
        "crops": gpu_equivalence.crops,
        "buffers": gpu_memory.buffers,
        "out_of_memory": gpu_memory.out_of_memory,
        "video": gpu_video.video,
        "faces": gpu_cameras.faces,
        "camera_batches": gpu_cameras.camera_batches,
        "cameras": gpu_cameras.cameras,
        "speed": gpu_speed.speed,  # the longest; it takes what is left of the budget
    }


def run_gpu_check(request: GpuCheckRequest, say: Callable[[str], None], clock: Callable[[], float] = monotonic) -> dict[str, Any]:
    """Run the sections in sequence and write the results after each step, so that an error or an interruption loses none.

    Args:
        request: The options.
        say: Called with a line of progress.
        clock: Returns seconds.

    Returns:
        All results, as `json.dumps` takes them; `passed` is False if a check failed.

    Raises:
        MaskStreamError: The device or a section is not known, images cannot be read, or the results cannot be written.
        ImportError: A package that the models need is missing.
    """
    from maskstream.benchmark.gpu_setup import FULL, LOST, QUICK, SPENT, Check, find_device, logged_lines, real_images
    from maskstream.benchmark.machine import machine

    if not request.budget_s > 0:
        raise ConfigError(f"--budget: {request.budget_s:g} is not allowed; give seconds, more than 0")
    began_s = clock()
    chosen = _chosen(request.sections)
    device, plan = find_device(request.device), QUICK if request.quick else FULL
    found: dict[str, dict[str, Any]] = {}
    check = Check(
        device=device,
        plan=plan,
        frames=real_images(plan.frames, request.images),
        say=lambda what: say(f"{clock() - began_s:5.0f} s: {what}"),
        seconds_left=lambda: began_s + request.budget_s - clock(),
        found=found,
    )
    record: dict[str, Any] = {
        "program": f"maskstream {__version__}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(device),
        "quick": request.quick,
        "budget_s": request.budget_s,
        "machine": machine(),
        "passed": True,
        "errors": check.errors,
        "sections": found,
    }
    _keep(request.json, record)  # fails early if the file cannot be written

    def keep_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        found[name] = {"rows": list(rows)}
        _keep(request.json, record)

    with logged_lines("detector.execution", "DEBUG") as record["details"]:
        for name, section in chosen.items():
            check.say(name)
            section_began_s = clock()
            if check.seconds_left() < 0:
                found[name] = {"skipped": f"{SPENT} ({request.budget_s:g} s)"}
            elif check.is_lost:
                found[name] = {"skipped": f"{LOST}: --section {name}"}
            else:
                result = _run(name, section, replace(check, keep=partial(keep_rows, name)))
                found[name] = found.get(name, {}) | result
            found[name]["seconds"] = round(clock() - section_began_s, 1)
            record["passed"] = all(each.get("passed") is not False for each in found.values())
            _keep(request.json, record)
    return record


def _keep(path: Path | None, record: Mapping[str, Any]) -> None:
    if path is not None:
        replace_file(path, json.dumps(record, indent=2).encode() + b"\n")


def _chosen(names: Sequence[str]) -> dict[str, Section]:
    known = sections()
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise ConfigError(f"--section: {unknown!r} is not known; allowed: {', '.join(known)}")
    return {name: section for name, section in known.items() if name in names or not names}


def _run(name: str, section: Section, check: "Check") -> dict[str, Any]:
    """Return the results of a section. A section that cannot run or fails in any way does not stop the others."""
    try:
        return section(check)
    except ImportError as error:
        if not is_foreign(error):
            raise
        return {"skipped": missing(error)}
    except MaskStreamError as error:
        return {"passed": False, "said": str(error)}
    except Exception as error:  # a device may fail in any way; the other sections still run
        return {"passed": False, "said": check.failed(name, error)}


def is_foreign(error: ImportError) -> bool:
    """Return True if another package is missing, False if it is a module of maskstream."""
    return error.name is None or error.name.partition(".")[0] != "maskstream"


def missing(error: ImportError) -> str:
    """Return the missing package and the command that installs it."""
    package = (error.name or "").partition(".")[0]
    if not package:
        return f"a package cannot be loaded: {error}"
    return f"the package {package} is missing; pip install {_NAMES_TO_INSTALL.get(package, package)}"


def tables(record: Mapping[str, Any]) -> str:
    """Return the results as tables in Markdown."""
    summary = []
    for name, found in record["sections"].items():
        result = {True: "passed", False: "FAILED", None: "done"}[found.get("passed")]
        said = f"skipped: {found['skipped']}" if "skipped" in found else found["said"]
        summary.append(
            {"section": name, "result": "-" if "skipped" in found else result, "seconds": found["seconds"], "what": said}
        )
    parts = [_table(summary)]
    for name, found in record["sections"].items():
        if found.get("rows"):
            parts.append(f"{name}:\n\n{_table(found['rows'], found.get('columns'))}")
    return "\n\n".join(parts)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    keys = list(columns or dict.fromkeys(key for row in rows for key in row))
    cells = [keys, *([_cell(row.get(key, "")) for key in keys] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(keys))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    if isinstance(value, list):
        return " to ".join(map(_cell, value))
    return str(value).replace("|", "/")
