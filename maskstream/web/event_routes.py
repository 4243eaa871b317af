"""List the events in the store."""

from typing import Annotated, Any, Final

from pydantic import AwareDatetime, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from maskstream.store.roles import Role
from maskstream.types import Label
from maskstream.web.problems import Problem
from maskstream.web.requests import access_of, context_of, in_thread, query_of
from maskstream.web.route import QueryModel, Route


class EventQuery(QueryModel):
    """The events to list."""

    camera: str | None = Field(default=None, description="The camera.")
    zone: str | None = Field(default=None, description="The zone.")
    label: Label | None = Field(default=None, description="The label.")
    since: AwareDatetime | None = Field(default=None, description="Events that began at this time or later, with time zone.")
    until: AwareDatetime | None = Field(default=None, description="Events that began before this time, with time zone.")
    open: bool | None = Field(default=None, description="true: events that have not ended. false: events that have ended.")
    cursor: Annotated[str, Field(max_length=200)] | None = Field(default=None, description="`next` of the page before.")
    limit: Annotated[int, Field(ge=1, le=200)] = Field(default=50, description="The maximum number of events.")


class Events(TypedDict):
    """A page of events, the newest first."""

    events: list[dict[str, Any]]
    next: Annotated[str | None, Field(description="The cursor of the next page. null: this is the last page.")]


async def list_events(request: Request) -> Response:
    """Return a page of the events of the cameras that the user may see."""
    access, query = access_of(request), query_of(request, EventQuery)
    if query.camera is not None and not access.may_see(query.camera):
        raise Problem(403, f"{access.name} may not see {query.camera:.100}; ask an administrator")
    page = await in_thread(
        context_of(request).store.events.page,
        cameras=access.cameras,
        camera=query.camera,
        zone=query.zone,
        label=query.label,
        since=query.since,
        until=query.until,
        is_open=query.open,
        cursor=query.cursor,
        limit=query.limit,
    )
    return JSONResponse({"events": [event.record for event in page.events], "next": page.next_cursor})


async def show_event(request: Request) -> Response:
    """Return one event."""
    access, event_id = access_of(request), request.path_params["event_id"]
    event = await in_thread(context_of(request).store.events.get, event_id)
    if event is None or not access.may_see(event.camera):  # the same answer: ids of other cameras stay unknown
        raise Problem(404, f"{event_id:.100}: no such event")
    return JSONResponse(event.record)


ROUTES: Final = (
    Route("GET", "/api/v1/events", Role.VIEWER, list_events, "List events", query=EventQuery, answer=Events),
    Route(
        "GET", "/api/v1/events/{event_id}", Role.VIEWER, show_event, "Show an event", answer=dict[str, Any], audit="event.view"
    ),
)
