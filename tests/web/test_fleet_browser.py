"""The dashboard of a fleet in a real browser: its nodes, cameras without pictures, and drains."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from maskstream.fleet.status import FleetStatus, Move
from maskstream.store.roles import Role
from maskstream.web.live_sink import LiveEvents
from tests.events.test_sink import event
from tests.fleet.statuses import AT_S, fleet, node, placed
from tests.web.browser import DESK, PHONE, go, opened, signed_in
from tests.web.site import PASSWORD, Site, fleet_context, running_site

pytestmark = pytest.mark.slow


@dataclass
class Supervisor:
    """Drains its nodes when it is told to."""

    status: FleetStatus = field(default_factory=fleet)

    def drain(self, name: str, is_on: bool) -> None:
        drain = {*self.status.drain, name} if is_on else {*self.status.drain} - {name}
        nodes = [
            replace(each, state="draining" if is_on else "up", reason="") if each.name == name else each
            for each in self.status.nodes
        ]
        self.status = replace(self.status, nodes=tuple(nodes), drain=tuple(sorted(drain)))


@pytest.fixture(scope="module")
def browser(system_tool: Callable[[str], str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=system_tool("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def supervisor() -> Supervisor:
    return Supervisor()


@pytest.fixture
def site(tmp_path: Path, supervisor: Supervisor) -> Iterator[Site]:
    with running_site(tmp_path, **fleet_context(lambda: supervisor.status, supervisor.drain)) as running:
        yield running


def test_nodes_with_their_cameras_and_what_moved(browser: Browser, site: Site, supervisor: Supervisor) -> None:
    with opened(browser, f"{site.url}/#/nodes", state=signed_in(site.url, "viewer", PASSWORD)) as page:
        expect(page.locator(".summary")).to_have_text("ward 73 nodes4 cameras1 down7 stale records")
        expect(page.get_by_text("Pictures stay on the node of their camera.")).to_be_visible()
        east = page.get_by_role("region", name="east")
        expect(east).to_contain_text("10.0 of 40.0 frames/s used (25%)")
        expect(east.locator(".placed-list li")).to_have_text(
            ["entranceOnline25.0 / 5.0 frames/s", "wardOffline0.0 / 0.0 frames/sno route to host"]
        )
        expect(page.get_by_role("region", name="west")).to_contain_text("no reply for 31 s")
        expect(page.locator(".unplaced")).to_contain_text("lobbyWithout node")
        expect(page.locator(".moves tbody tr")).to_have_count(2)
        expect(page.get_by_role("button", name="Drain")).to_have_count(0)
        supervisor.status = replace(
            supervisor.status,
            nodes=(node("east"), node("west")),
            cameras=(placed("lobby", "west"),),
            moves=(Move(AT_S + 90, "lobby", None, "west", "west is up"), *supervisor.status.moves),
        )
        expect(page.locator(".unplaced")).to_be_hidden()
        expect(page.get_by_role("region", name="west").locator(".placed-list")).to_contain_text("lobbyOnline")
        expect(page.get_by_role("region", name="south")).to_have_count(0)
        expect(page.locator(".moves tbody tr").first).to_contain_text("no node → west")


def test_an_administrator_drains_a_node_with_the_keyboard(browser: Browser, site: Site, supervisor: Supervisor) -> None:
    with opened(browser, f"{site.url}/#/nodes", state=signed_in(site.url, "admin", PASSWORD)) as page:
        east = page.get_by_role("region", name="east")
        east.get_by_role("button", name="Drain: east").press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Cancel").press("Enter")
        assert "east" not in supervisor.status.drain
        east.get_by_role("button", name="Drain: east").press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Drain").press("Enter")
        expect(east).to_contain_text("Draining")
        assert "east" in supervisor.status.drain
        east.get_by_role("button", name="End drain: east").press("Enter")
        expect(east.locator(".node-up")).to_be_visible()
        assert "east" not in supervisor.status.drain
        go(page, "#/audit")
        expect(page.locator("tbody tr").first).to_contain_text("Drain of a node ended")


def test_an_administrator_of_some_cameras_cannot_drain(browser: Browser, site: Site) -> None:
    site.store.users.add("anna", Role.ADMIN, ("ward",), PASSWORD)
    with opened(browser, f"{site.url}/#/nodes", state=signed_in(site.url, "anna", PASSWORD)) as page:
        expect(page.locator(".placed-list li")).to_have_count(1)
        expect(page.get_by_role("button", name="rain: ")).to_have_count(0)


def test_now_and_cameras_show_states_without_pictures(browser: Browser, site: Site, supervisor: Supervisor) -> None:
    with opened(browser, site.url, state=signed_in(site.url, "admin", PASSWORD)) as page:
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(
            ["Now", "Events", "Cameras", "Nodes", "System", "Audit"]
        )
        expect(page.locator(".connection")).to_have_text("Live")
        expect(page.locator(".tile-name")).to_have_text(["ward", "lobby", "entrance", "stairs"])
        expect(page.get_by_text("Pictures stay on the node of their camera.")).to_be_visible()
        expect(page.locator("canvas")).to_have_count(0)
        page.locator(".tile").first.press("ArrowRight")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="lobby")).to_be_focused()
        expect(page.get_by_text("No node has this camera.")).to_be_visible()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_text("Pictures of this camera stay on its node east.")).to_be_visible()
        go(page, "#/cameras/ward/zones")  # of a fleet, zones are in the site file
        expect(page.locator("tbody tr")).to_have_count(4)
        expect(page.get_by_text("Cameras are edited in the site file.")).to_be_visible()
        expect(page.get_by_role("button", name="Add camera")).to_have_count(0)
        expect(page.locator("tbody tr").nth(2)).to_contain_text("36%")
        supervisor.status = replace(supervisor.status, cameras=(placed("ward", "west"),))
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr .col-node")).to_have_text("west")


def test_events_of_the_nodes_arrive_on_the_page(browser: Browser, site: Site) -> None:
    live = site.context.live
    assert live is not None
    began = datetime.now(UTC)
    with opened(browser, f"{site.url}/#/events", state=signed_in(site.url, "ward", PASSWORD)) as page:
        expect(page.locator(".connection")).to_have_text("Live")
        expect(page.get_by_text("No event matches these filters.")).to_be_visible()  # what is stored has been read
        made = event()
        seen = replace(made.best, timestamp=replace(made.best.timestamp, wall_time=began))
        LiveEvents(live).take(
            [
                replace(made, source_id=name, began=seen.timestamp, last=seen.timestamp, best=seen, event_id=name)
                for name in ("lobby", "ward")
            ]
        )
        expect(page.locator(".event-row")).to_have_count(1)
        expect(page.locator(".event-row .col-camera")).to_have_text("ward")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(browser: Browser, site: Site, size: tuple[int, int], scheme: str) -> None:
    state = signed_in(site.url, "admin", PASSWORD)
    with opened(browser, f"{site.url}/#/nodes", state=state, size=size, scheme=scheme, locale="de-DE") as page:  # type: ignore[arg-type]
        expect(page.get_by_role("region", name="east")).to_be_visible()
        for address in ("#/nodes", "#/now", "#/now/ward", "#/cameras", "#/events?period=all", "#/system"):
            go(page, address)
            page.wait_for_timeout(300)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], address


def test_a_display_sees_states(browser: Browser, site: Site) -> None:
    with opened(browser, site.url, state=signed_in(site.url, "display", PASSWORD)) as page:
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Now"])
        expect(page.locator(".tile-name")).to_have_count(4)
