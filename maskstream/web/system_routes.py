"""Show the state of the program, its settings and the audit, and check settings."""

import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import disk_usage
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from maskstream import __version__
from maskstream.errors import MaskStreamError
from maskstream.io.text_file import iso_8601
from maskstream.store.roles import Role
from maskstream.web.context import WebContext
from maskstream.web.problems import Problem
from maskstream.web.requests import body_of, context_of, in_thread, query_of
from maskstream.web.route import BodyModel, QueryModel, Route
from maskstream.web.shown_settings import require_cameras, require_settings, shown_settings

_PACKAGES: Final = ("numpy", "opencv-python", "av", "openvino", "torch")


class Delivery(TypedDict):
    """The records that wait for a receiver of events."""

    receiver: str
    waiting: int
    oldest_s: Annotated[float | None, Field(description="How long the oldest record waits, in seconds. null: none waits.")]
    lost: int
    reason: Annotated[str, Field(description="Why the latest attempt failed; empty where none did.")]


class Disk(TypedDict):
    """The disk of a folder that the program writes to."""

    folder: str
    free_bytes: int
    total_bytes: int


class StoreState(TypedDict):
    """The state of the store."""

    path: str
    writable: bool
    error: str
    size_bytes: int
    schema_version: int
    waiting_writes: int
    lost_writes: int


class System(TypedDict):
    """The state of the program."""

    versions: dict[str, str]
    started_utc: str | None
    uptime_s: float
    store: StoreState
    disks: list[Disk]
    deliveries: list[Delivery]


class Settings(TypedDict):
    """The settings of a run, secrets hidden."""

    settings: dict[str, Any]


class ValidationBody(BodyModel):
    """Settings to check."""

    kind: Literal["config", "cameras"] = Field(default="config", description="A configuration file, or a list of cameras.")
    text: Annotated[str, Field(max_length=60_000)] = Field(repr=False, description="The YAML text.")


class ValidationAnswer(TypedDict):
    """Whether settings are right."""

    ok: bool
    detail: Annotated[str, Field(description="The message of the command line; empty where the settings are right.")]


class AuditQuery(QueryModel):
    """The entries of the audit to list."""

    cursor: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="`next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=100, description="The maximum number of entries.")


class AuditRecord(TypedDict):
    """An action."""

    at_utc: str
    who: str
    what: str
    detail: str
    address: str


class Audit(TypedDict):
    """A page of the audit, the newest first."""

    entries: list[AuditRecord]
    next: Annotated[str | None, Field(description="The cursor of the next page. null: this is the last page.")]


async def show_system(request: Request) -> Response:
    """Return the state of the program."""
    return JSONResponse(await in_thread(system, context_of(request)))


def system(context: WebContext) -> System:
    """Return the state of the program. It reads files: do not call it in the event loop."""
    store = context.store
    return {
        "versions": versions(),
        "started_utc": iso_8601(context.started_at),
        "uptime_s": round((datetime.now(UTC) - context.started_at).total_seconds(), 1),
        "store": {"path": str(store.path), **asdict(store.health())},  # type: ignore[typeddict-item]
        "disks": _disks([str(Path(store.path).parent), *context.folders]),
        "deliveries": [asdict(delivery) for delivery in context.deliveries()],  # type: ignore[misc]
    }


def versions() -> dict[str, str]:
    """Return the versions of the program, of Python and of the packages that matter for its results."""
    found = {"maskstream": __version__, "Python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    found["system"] = f"{platform.system()} {platform.release()}"
    return found


def _disks(folders: Sequence[str]) -> list[Disk]:
    disks: list[Disk] = []
    for folder in dict.fromkeys(folders):
        try:
            usage = disk_usage(folder)
        except OSError:  # not created yet, or a disk that is gone
            continue
        disks.append({"folder": folder, "free_bytes": usage.free, "total_bytes": usage.total})
    return disks


async def show_config(request: Request) -> Response:
    """Return the settings of the run."""
    return JSONResponse({"settings": shown_settings(context_of(request).config)})


async def validate_config(request: Request) -> Response:
    """Check settings, and return the message of the command line."""
    body, context = body_of(request, ValidationBody), context_of(request)

    def check() -> ValidationAnswer:
        try:
            if body.kind == "cameras":
                require_cameras(body.text, context.config)
            else:
                require_settings(body.text)
        except MaskStreamError as error:
            return {"ok": False, "detail": str(error)}
        return {"ok": True, "detail": ""}

    return JSONResponse(await in_thread(check))


async def list_audit(request: Request) -> Response:
    """Return a page of the audit."""
    query = query_of(request, AuditQuery)
    try:
        page = await in_thread(context_of(request).store.audit.page, query.cursor, query.limit)
    except MaskStreamError as error:
        raise Problem.of(error) from error
    entries = [
        {"at_utc": each.at_utc, "who": each.who, "what": each.what, "detail": each.detail, "address": each.address}
        for each in page.entries
    ]
    return JSONResponse({"entries": entries, "next": page.next_cursor})


ROUTES: Final = (
    Route("GET", "/api/v1/system", Role.VIEWER, show_system, "Show the state of the program", answer=System),
    Route("GET", "/api/v1/config", Role.ADMIN, show_config, "Show the settings, secrets hidden", answer=Settings),
    Route(
        "POST",
        "/api/v1/config/validate",
        Role.ADMIN,
        validate_config,
        "Check settings",
        body=ValidationBody,
        answer=ValidationAnswer,
    ),
    Route("GET", "/api/v1/audit", Role.ADMIN, list_audit, "List who did what", query=AuditQuery, answer=Audit),
)
