"""Show the nodes of a fleet, and let administrators drain them."""

from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from maskstream.fleet.status import FleetStatus
from maskstream.store.roles import Role
from maskstream.web.fleet_records import Nodes, fleet_record
from maskstream.web.problems import Problem
from maskstream.web.requests import access_of, context_of, in_thread
from maskstream.web.route import Route

_DRAIN: Final = "/api/v1/nodes/{node}/drain"


async def list_nodes(request: Request) -> Response:
    """Return the nodes, the cameras that the client may see, and the latest moves."""
    return JSONResponse(fleet_record(await _status(request), access_of(request)))


async def begin_drain(request: Request) -> Response:
    """Move the cameras of a node to other nodes, and place none there. A second call changes nothing."""
    return await _drain(request, is_on=True)


async def end_drain(request: Request) -> Response:
    """Let a node have cameras again. A second call changes nothing."""
    return await _drain(request, is_on=False)


async def _drain(request: Request, *, is_on: bool) -> Response:
    status, access, node = await _status(request), access_of(request), request.path_params["node"]
    if access.cameras is not None:  # the cameras of a node may be others
        raise Problem(403, f"{access.name} may see some cameras only, and a drain moves all cameras of a node")
    if node not in {*(each.name for each in status.nodes), *status.drain}:
        raise Problem(404, f"{node:.100}: no such node")
    drain = context_of(request).drain
    assert drain is not None
    await in_thread(drain, node, is_on)
    return Response(status_code=204)


async def _status(request: Request) -> FleetStatus:
    fleet = context_of(request).fleet
    if fleet is None:
        raise Problem(404, "no fleet runs here; use the dashboard of `maskstream fleet`")
    return await in_thread(fleet)


ROUTES: Final = (
    Route("GET", "/api/v1/nodes", Role.VIEWER, list_nodes, "List the nodes of a fleet with their cameras", answer=Nodes),
    Route("POST", _DRAIN, Role.ADMIN, begin_drain, "Move all cameras away from a node", audit="node.drain"),
    Route("DELETE", _DRAIN, Role.ADMIN, end_drain, "Let a node have cameras again", audit="node.undrain"),
)
