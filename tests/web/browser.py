"""Pages of the dashboard in a real browser, which must neither complain nor ask any other host."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, StorageState, WebSocket, expect

from tests.slowness import LONGEST_S

_REPORT = """
addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
"""
_REFUSED = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_LONGEST_MS = 1000 * LONGEST_S
PHONE = (390, 844)
DESK = (1280, 800)

expect.set_options(timeout=_LONGEST_MS)  # for all tests of this process


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    state: StorageState | None = None,
    size: tuple[int, int] = DESK,
    scheme: Literal["light", "dark"] = "light",
    refused: Sequence[int] = (),
    without_live: bool = False,
    locale: str = "en-GB",
) -> Iterator[Page]:
    """Open a page in a browser of its own, and check at the end that it had no error and asked this server alone.

    Args:
        browser: The program.
        url: The dashboard.
        state: The cookies of a user who has logged in.
        size: Of the window.
        scheme: The user's.
        refused: The statuses of failed requests that the test provokes.
        without_live: Whether the server has no live connection.
        locale: The language and region of the browser.
    """
    context = browser.new_context(
        storage_state=state,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        locale=locale,
        ignore_https_errors=True,
    )
    context.set_default_timeout(_LONGEST_MS)
    context.add_init_script(_REPORT)
    complaints: list[str] = []
    hosts: set[str] = set()

    def heard(message: ConsoleMessage) -> None:
        found = _REFUSED.match(message.text)
        is_expected = found and int(found[1]) in refused
        is_live = without_live and "WebSocket connection to" in message.text
        if message.type in ("error", "warning") and not is_expected and not is_live:
            complaints.append(f"{message.text} {message.location}")

    def asked(request: Request | WebSocket) -> None:
        if not request.url.startswith(("blob:", "data:")):
            hosts.add(urlsplit(request.url).netloc)

    page = context.new_page()
    page.on("console", heard)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", asked)
    page.on("websocket", asked)
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    assert complaints == []
    assert hosts == {urlsplit(url).netloc}


def signed_in(url: str, name: str, password: str) -> StorageState:
    """Log in without a page, and return the cookie."""
    with httpx.Client(base_url=url, headers={"origin": url}, trust_env=False, timeout=LONGEST_S) as client:
        client.post("/api/v1/session", json={"name": name, "password": password}).raise_for_status()
        [(key, value)] = client.cookies.items()
    cookie: Any = {
        "name": key,
        "value": value,
        "domain": urlsplit(url).hostname,
        "path": "/",
        "expires": -1,
        "httpOnly": True,
        "secure": False,
        "sameSite": "Strict",
    }
    return {"cookies": [cookie], "origins": []}


def go(page: Page, address: str) -> None:
    """Open another page of the dashboard by its address after the #."""
    page.evaluate("(address) => { location.hash = address; }", address)


def focused(page: Page) -> str:
    """Return the name of the element with the focus, and check that the focus can be seen."""
    name, is_shown = page.evaluate(
        """() => {
            const element = document.activeElement;
            const style = getComputedStyle(element);
            const isShown = style.outlineStyle !== 'none' || style.strokeWidth !== '0px';
            return [element.getAttribute('aria-label') ?? element.textContent.trim() ?? '', isShown];
        }"""
    )
    assert is_shown, name
    return str(name)
