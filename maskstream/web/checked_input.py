"""Check the query and the body of a request against the models of its route."""

import asyncio

from pydantic import BaseModel, ValidationError
from starlette.requests import HTTPConnection, Request

from maskstream.web import security
from maskstream.web.problems import Problem
from maskstream.web.security import MAX_BODY, require_json, require_small, too_large


def checked_query(connection: HTTPConnection, kind: type[BaseModel]) -> BaseModel:
    """Return the checked query.

    Raises:
        Problem: 400 for a parameter given twice, 422 for a wrong one.
    """
    pairs = connection.query_params.multi_items()
    values = dict(pairs)
    if len(values) < len(pairs):
        raise Problem(400, "a parameter of the query is given twice")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _problem_of(error, "query") from None


async def checked_body(request: Request, kind: type[BaseModel]) -> BaseModel:
    """Return the checked body.

    Raises:
        Problem: 400 where it is not JSON, 408 where it does not arrive, 413, 415, 422.
    """
    require_json(request)
    require_small(request.headers)
    content = bytearray()
    try:
        async with asyncio.timeout(security.BODY_WITHIN_S):
            async for part in request.stream():
                content += part
                if len(content) > MAX_BODY:
                    raise too_large()
    except TimeoutError:
        raise Problem(408, f"the body did not arrive within {security.BODY_WITHIN_S:g} s") from None
    try:
        return kind.model_validate_json(bytes(content))
    except ValidationError as error:
        raise _problem_of(error, "body") from None


def _problem_of(error: ValidationError, where: str) -> Problem:
    """Return the problem of the first wrong value. The message has no values: one may be a password."""
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        return Problem(400, "the body is not JSON")
    name = ".".join(map(str, first["loc"])) or where
    return Problem(422, f"{where}: {name:.100}: {first['msg'][:1].lower()}{first['msg'][1:]:.300}")
