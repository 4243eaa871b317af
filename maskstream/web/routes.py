"""List all routes of the dashboard, and describe them as OpenAPI."""

from typing import Any, Final

from pydantic import TypeAdapter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from maskstream import __version__
from maskstream.web import (
    camera_routes,
    event_routes,
    fleet_routes,
    live_routes,
    metrics,
    session_routes,
    static_files,
    system_routes,
)
from maskstream.web.route import Need, Route

_REFERENCE: Final = "#/components/schemas/{model}"
_MEANINGS: Final = {
    "none": "Without login.",
    "self": "For every user who has logged in, and every API token.",
    "metrics": "For API tokens and users of the role viewer that may see all cameras, and for web.metrics_networks.",
}


async def _openapi(_: Request) -> Response:
    return JSONResponse(openapi())


ROUTES: Final[tuple[Route, ...]] = (
    *static_files.ROUTES,
    *session_routes.ROUTES,
    *event_routes.ROUTES,
    *camera_routes.ROUTES,
    *fleet_routes.ROUTES,
    *system_routes.ROUTES,
    *live_routes.ROUTES,
    *metrics.ROUTES,
    Route("GET", "/openapi.json", "self", _openapi, "This description", answer=dict[str, Any]),
)
"""All routes. The permission check, `/openapi.json` and the test of all routes and roles are made from this table."""


def openapi(routes: tuple[Route, ...] | None = None) -> dict[str, Any]:
    """Return the OpenAPI description of routes, by default of all."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {}
    for route in ROUTES if routes is None else routes:
        method = "get" if route.method == "WS" else route.method.lower()
        paths.setdefault(route.path, {})[method] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "maskstream", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
            },
        },
        "security": [{"token": []}, {"session": []}],
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {"name": segment.strip("{}"), "in": "path", "required": True, "schema": {"type": "string"}}
        for segment in route.segments
        if segment.startswith("{")
    ]
    if route.query is not None:
        schema = _schema(route.query, schemas)
        for name, field in schema["properties"].items():
            required = name in schema.get("required", ())
            parameters.append({"name": name, "in": "query", "required": required, "schema": field})
    operation: dict[str, Any] = {
        "summary": route.summary,
        "description": meaning(route.access),
        "parameters": parameters,
        "responses": {**_answers(route, schemas), "default": {"description": "A problem (RFC 9457)."}},
    }
    if route.access == "none":
        operation["security"] = []
    if route.body is not None:
        schemas[route.body.__name__] = _schema(route.body, schemas)
        reference = {"$ref": _REFERENCE.format(model=route.body.__name__)}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    return operation


def _answers(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    if route.method == "WS":
        return {"101": {"description": "The WebSocket is open."}}
    if route.answer is None:
        return {"204": {"description": "Done."}}
    content: dict[str, Any] = {}
    if not isinstance(route.answer, str):
        content["schema"] = _schema(route.answer, schemas)
    return {"200": {"description": route.summary, "content": {route.media_type: content}}}


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a type. The types that it uses are added to `schemas`."""
    schema = TypeAdapter(kind).json_schema(ref_template=_REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    return schema


def meaning(access: Need) -> str:
    """Return who may use a route, as a sentence."""
    return _MEANINGS.get(access) or f"For the role {access} and higher ones."
