"""Show cameras, and let administrators add, change, remove and probe them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, cast

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from maskstream.errors import MaskStreamError
from maskstream.redaction import redact
from maskstream.sources.probe import PROBE_S, probe
from maskstream.store.roles import Role
from maskstream.web.camera_answers import CameraDetail, CameraRecord
from maskstream.web.camera_edit import CameraChange
from maskstream.web.camera_lists import CameraEntry, CameraLists
from maskstream.web.camera_records import camera_records
from maskstream.web.context import WebContext
from maskstream.web.fleet_records import PlacedRecord
from maskstream.web.list_refusal import CameraListError, Refusal
from maskstream.web.problems import Problem
from maskstream.web.requests import Access, access_of, body_of, context_of, in_thread
from maskstream.web.route import BodyModel, Route

_PATH: Final = "/api/v1/cameras/{camera}"
_STATUS: Final = {
    Refusal.UNKNOWN: 404,
    Refusal.WRONG: 422,
    Refusal.CHANGED: 412,
    Refusal.NOT_EDITABLE: 409,
    Refusal.FAILED: 507,
}
_NO_LISTS: Final = "there are no running cameras here; edit cameras in the dashboard of their run"
_IN_SITE: Final = "the cameras of a fleet are in its site file; edit that file"
_MAX_ZONES: Final = 100
_MAX_CORNERS: Final = 200
_Text = Annotated[str, Field(max_length=4000)]
_Corner = Annotated[list[float], Field(min_length=2, max_length=2)]


class Zone(BodyModel):
    """A zone of a camera."""

    name: _Text
    polygon: Annotated[list[_Corner], Field(max_length=_MAX_CORNERS, description="Corners as fractions of width and height.")]


class CameraBody(BodyModel):
    """A change of a camera, or a camera to add."""

    url: _Text | None = Field(default=None, repr=False, description="The url. null: unchanged; a camera to add needs one.")
    zones: Annotated[list[Zone], Field(max_length=_MAX_ZONES)] | None = Field(
        default=None, description="All zones of the camera. null: unchanged."
    )
    settings: dict[str, Any] | None = Field(
        default=None, description="All settings of its own, as in a list of cameras, without zones. null: unchanged."
    )
    if_match: _Text | None = Field(default=None, description="`etag` of the camera as it was read. null: add a camera.")


class Removal(BodyModel):
    """A camera to remove."""

    if_match: _Text | None = Field(default=None, description="`etag` of the camera as the client has read it.")


class ProbeBody(BodyModel):
    """A camera to probe: one of the list, or a url."""

    camera: _Text | None = None
    url: _Text | None = Field(default=None, repr=False)


class ProbeAnswer(TypedDict, total=False):
    """What a camera sends."""

    ok: bool
    detail: Annotated[str, Field(description="Why it sends nothing.")]
    width: int
    height: int
    fps: float | None
    seconds: Annotated[float, Field(description="The time until the first frame.")]


class Cameras(TypedDict):
    """All cameras that the client may see."""

    cameras: list[CameraRecord | PlacedRecord]
    obstacle: Annotated[str, Field(description="Why an administrator cannot add a camera; empty where that is possible.")]


async def list_cameras(request: Request) -> Response:
    """Return the state of all cameras that the client may see."""
    context, access = context_of(request), access_of(request)

    def read() -> Cameras:
        obstacle = ""
        if access.role.includes(Role.ADMIN):
            obstacle = _no_lists(context) if context.cameras is None else context.cameras.obstacle()
        records = cast(list[CameraRecord | PlacedRecord], camera_records(context, access))
        return {"cameras": records, "obstacle": obstacle}

    return JSONResponse(await in_thread(read))


async def show_camera(request: Request) -> Response:
    """Return the state of a camera, and for an administrator what its list says."""
    return JSONResponse(await in_thread(_detail, context_of(request), access_of(request), request.path_params["camera"]))


async def put_camera(request: Request) -> Response:
    """Change a camera, or add it."""
    name, body, lists = request.path_params["camera"], body_of(request, CameraBody), _lists(request)
    zones = None if body.zones is None else {zone.name: zone.polygon for zone in body.zones}
    if body.zones is not None and zones is not None and len(zones) < len(body.zones):
        twice = Counter(zone.name for zone in body.zones).most_common(1)[0][0]
        raise Problem(422, f"zones: {twice:.80} is given twice; give each zone a name of its own")
    before = await in_thread(lists.entry, name)
    entry = await in_thread(_put, lists, name, CameraChange(body.url, zones, body.settings), body.if_match)
    changes = ["added"] if before is None else _changes(before, entry)
    request.state.audit_detail = f"{name}: {'; '.join(changes) or 'nothing'}"
    return JSONResponse(_listed(entry))


async def remove_camera(request: Request) -> Response:
    """Remove a camera from its list."""
    name, lists = request.path_params["camera"], _lists(request)
    await in_thread(_remove, lists, name, body_of(request, Removal).if_match)
    return Response(status_code=204)


async def probe_camera(request: Request) -> Response:
    """Open a camera for a moment, and return what it sends."""
    body, lists, context = body_of(request, ProbeBody), _lists(request), context_of(request)
    if (body.camera is None) == (body.url is None):
        raise Problem(422, "camera or url is missing; give one of them")
    if body.camera is not None and not access_of(request).may_see(body.camera):
        raise Problem(403, f"{access_of(request).name} may not see {body.camera:.100}; ask an administrator")
    request.state.audit_detail = body.camera or redact(str(body.url))
    async with context.probes:
        return JSONResponse(await in_thread(_probe, lists, body))


def _lists(request: Request) -> CameraLists:
    context = context_of(request)
    if context.cameras is None:
        raise Problem(409, _no_lists(context))
    return context.cameras


def _no_lists(context: WebContext) -> str:
    return _NO_LISTS if context.fleet is None else _IN_SITE


def _detail(context: WebContext, access: Access, name: str) -> dict[str, Any]:
    entry = None if context.cameras is None else context.cameras.entry(name)
    live = next((record for record in camera_records(context, access) if record["camera"] == name), None)
    if live is None and (entry is None or not access.role.includes(Role.ADMIN)):
        raise Problem(404, f"{name:.100}: no such camera")
    detail = {"camera": name, **(live or {})}
    if not access.role.includes(Role.ADMIN):
        return detail
    if entry is None:
        obstacle = "it is not in a list" if context.fleet is None else _IN_SITE
        return {**detail, "url": None, "settings": None, "etag": None, "editable": False, "obstacle": obstacle}
    return {**detail, **_listed(entry)}


def _listed(entry: CameraEntry) -> dict[str, Any]:
    """Return what the list says about a camera."""
    zones = [{"name": zone, "polygon": polygon} for zone, polygon in entry.zones.items()]
    return {
        "camera": entry.name,
        "source": entry.shown_url,
        "url": entry.shown_url,
        "zones": zones,
        "settings": entry.settings,
        "etag": entry.etag,
        "editable": not entry.obstacle,
        "obstacle": entry.obstacle,
    }


def _changes(before: CameraEntry, after: CameraEntry) -> list[str]:
    """Return the changes of an entry for the audit: settings with both values, because they may lift the anonymisation."""
    changes = ["url"] if before.url_key != after.url_key else []
    changes += ["zones"] if before.zones != after.zones else []
    was, now = (dict(_flat(entry.settings)) for entry in (before, after))
    keys = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return changes + [f"{key} is {now.get(key, 'unset')}, was {was.get(key, 'unset')}" for key in keys]


def _flat(settings: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{at}{key}.")
        else:
            yield f"{at}{key}", value


def _put(lists: CameraLists, name: str, change: CameraChange, if_match: str | None) -> CameraEntry:
    try:
        return lists.put(name, change, if_match)
    except CameraListError as error:
        raise Problem(_STATUS[error.refusal], str(error)) from error


def _remove(lists: CameraLists, name: str, if_match: str | None) -> None:
    try:
        lists.remove(name, if_match)
    except CameraListError as error:
        raise Problem(_STATUS[error.refusal], str(error)) from error


def _probe(lists: CameraLists, body: ProbeBody) -> ProbeAnswer:
    try:
        camera = lists.camera_at(str(body.url)) if body.camera is None else lists.camera(body.camera)
    except CameraListError as error:
        raise Problem(_STATUS[error.refusal], str(error)) from error
    try:
        found = probe(camera)
    except MaskStreamError as error:
        return {"ok": False, "detail": str(error)}
    fps = None if found.fps is None else round(found.fps, 2)
    return {"ok": True, "width": found.width, "height": found.height, "fps": fps, "seconds": round(found.seconds, 2)}


ROUTES: Final = (
    Route("GET", "/api/v1/cameras", Role.VIEWER, list_cameras, "List the cameras with their state", answer=Cameras),
    Route("GET", _PATH, Role.VIEWER, show_camera, "Show a camera", answer=CameraDetail),
    Route(
        "PUT",
        _PATH,
        Role.ADMIN,
        put_camera,
        "Change or add a camera",
        body=CameraBody,
        answer=CameraDetail,
        audit="camera.change",
    ),
    Route("DELETE", _PATH, Role.ADMIN, remove_camera, "Remove a camera", body=Removal, audit="camera.remove"),
    Route(
        "POST",
        "/api/v1/cameras/probe",
        Role.ADMIN,
        probe_camera,
        f"Open a camera for at most {PROBE_S:g} s, and tell what it sends",
        body=ProbeBody,
        answer=ProbeAnswer,
        audit="camera.probe",
    ),
)
