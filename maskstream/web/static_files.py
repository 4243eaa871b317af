"""Serve the pages, scripts and styles of the dashboard from the package."""

from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from maskstream.web.problems import Problem
from maskstream.web.route import Route

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
}
_PAGE: Final = "index.html"


@cache
def static_files() -> dict[str, tuple[bytes, str]]:
    """Return the content and the entity tag of each file by its path in `static`. No request reads another file."""
    found: dict[str, tuple[bytes, str]] = {}
    folders = [("", files("maskstream.web").joinpath("static"))]
    while folders:
        prefix, folder = folders.pop()
        for entry in folder.iterdir() if folder.is_dir() else ():
            if entry.is_dir():
                folders.append((f"{prefix}{entry.name}/", entry))
            elif _suffix(entry.name) in _TYPES:
                content = entry.read_bytes()
                found[f"{prefix}{entry.name}"] = content, f'"{sha256(content).hexdigest()[:32]}"'
    return found


async def page(request: Request) -> Response:
    """Return the page, which has the login too."""
    return _answer(request, _PAGE)


async def static_file(request: Request) -> Response:
    """Return a file of the pages."""
    return _answer(request, "/".join(request.path_params.values()))


def _answer(request: Request, path: str) -> Response:
    file = static_files().get(path)
    if file is None:
        raise Problem(404, f"{path:.100}: no such file")
    content, tag = file
    headers = {"etag": tag, "cache-control": "no-cache"}  # a browser asks again, and gets 304 until an update
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=_TYPES[_suffix(path)], headers=headers)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


ROUTES: Final = (
    Route("GET", "/", "none", page, "The dashboard", answer="text/html"),
    Route("GET", "/static/{file}", "none", static_file, "A file of the dashboard", answer="application/octet-stream"),
    Route("GET", "/static/{folder}/{file}", "none", static_file, "A file of the dashboard", answer="application/octet-stream"),
)
