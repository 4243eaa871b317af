"""`maskstream fleet --web` in a real browser: two agents with real cameras, a drain, a node that stops, a killed supervisor."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from maskstream.store.roles import Role
from maskstream.store.store import Store
from tests.conftest import DEMO, ROOT
from tests.ports import free_port
from tests.receivers import wait_until
from tests.slowness import LONGEST_S
from tests.web.browser import go, opened, signed_in
from tests.web.demo_cameras import demo_cameras, demo_jpegs
from tests.web.site import PASSWORD, QUICK

pytestmark = pytest.mark.slow


@dataclass
class Fleet:
    """A site with its supervisor."""

    folder: Path
    url: str
    process: Any = None

    def start(self) -> None:
        """Start the supervisor, and wait until its dashboard is ready."""
        command = [sys.executable, "-m", "maskstream", "fleet", "--site", str(self.folder / "site.yaml"), "--nodes", "2"]
        command += ["--web", self.url.partition("//")[2], "--set", f"store.folder={self.folder / 'store'}"]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        wait_until(lambda: self.process.poll() is not None or self.is_ready())
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def agents(self) -> dict[str, int]:
        """Return the process of the agent of each node."""
        own, found = str(self.folder / "state" / "agents"), {}
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if own in words:
                found[words[words.index(own) + 1].removeprefix("ward.")] = process.pid
        return found

    def events(self, **query: str) -> list[dict[str, Any]]:
        cookie = signed_in(self.url, "anna", PASSWORD)["cookies"][0]
        cookies = {cookie["name"]: cookie["value"]}
        url = f"{self.url}/api/v1/events"
        answer = httpx.get(url, params=query, cookies=cookies, trust_env=False, timeout=LONGEST_S)
        found: list[dict[str, Any]] = answer.json()["events"]
        return found


@pytest.fixture(scope="module")
def browser(system_tool: Callable[[str], str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=system_tool("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def led(tmp_path: Path) -> Iterator[Fleet]:
    """A site of two nodes and two cameras; one camera may be on the second node only."""
    with Store(tmp_path / "store", cost=QUICK) as store:
        store.users.add("anna", Role.ADMIN, None, PASSWORD)
    with demo_cameras(demo_jpegs(str(DEMO)), "/door", "/hall") as cameras:
        site = f"site: ward\nfolder: {tmp_path / 'state'}\nlease_s: 4\nsettings: {{detector: {{short_side: 224}}}}\ncameras:\n"
        site += f"- {{name: door, url: '{cameras}/door'}}\n- {{name: hall, url: '{cameras}/hall', nodes: [local-2]}}\n"
        (tmp_path / "site.yaml").write_text(site)
        fleet = Fleet(tmp_path, f"http://127.0.0.1:{free_port()}")
        fleet.start()
        try:
            yield fleet
        finally:
            for process in fleet.agents().values():
                os.kill(process, signal.SIGCONT)
            fleet.process.terminate()
            try:
                fleet.process.wait(LONGEST_S)
            finally:
                for process in fleet.agents().values():
                    os.kill(process, signal.SIGKILL)


def node(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name)


def test_a_fleet_with_its_dashboard(browser: Browser, led: Fleet) -> None:
    with opened(browser, f"{led.url}/#/nodes", state=signed_in(led.url, "anna", PASSWORD), refused=[503]) as page:
        expect(page.locator(".summary")).to_contain_text("ward2 nodes2 cameras")
        expect(node(page, "local-1").locator(".placed-list li")).to_contain_text("doorOnline")
        expect(node(page, "local-2").locator(".placed-list li")).to_contain_text("hallOnline")

        node(page, "local-1").get_by_role("button", name="Drain").click()
        page.get_by_role("dialog").get_by_role("button", name="Drain").click()
        expect(node(page, "local-2").locator(".placed-list li")).to_have_count(2)
        expect(node(page, "local-1")).to_contain_text("Draining")
        expect(page.locator(".moves tbody tr").first).to_contain_text(re.compile("door.*local-1 → local-2.*local-1 is drained"))
        node(page, "local-1").get_by_role("button", name="End drain").click()
        expect(node(page, "local-1").locator(".node-up")).to_be_visible()

        os.kill(led.agents()["local-2"], signal.SIGSTOP)
        expect(node(page, "local-2")).to_contain_text(re.compile(r"no reply for \d+ s"))
        expect(node(page, "local-1").locator(".placed-list li")).to_contain_text("doorOnline")
        expect(node(page, "local-2").locator(".placed-list li")).to_contain_text("hallUnknown")
        os.kill(led.agents()["local-2"], signal.SIGCONT)
        expect(node(page, "local-2").locator(".placed-list li")).to_contain_text("hallOnline")

        go(page, "#/events?camera=hall")
        expect(page.locator(".event-row.new").first).to_be_visible()


def test_events_continue_when_the_supervisor_is_killed(led: Fleet) -> None:
    """Its agents go on, and the next supervisor finds them: no event is interrupted, and at the end none is open."""
    wait_until(lambda: len(led.events(open="true")) > 0)
    agents = led.agents()
    led.process.kill()
    led.process.wait(LONGEST_S)
    led.start()
    before = {event["event_id"] for event in led.events()}
    assert before
    wait_until(lambda: bool({event["event_id"] for event in led.events()} - before))
    assert led.agents() == agents
    led.process.terminate()
    assert led.process.wait(LONGEST_S) in (143, -15)
    assert led.agents() == {}
    with Store(led.folder / "store", cost=QUICK) as store:
        causes = {event.record["cause"] for event in store.events.page(cameras=None, limit=200).events}
        assert store.events.open_count() == 0
    assert causes & {"interrupted"} == set()
    assert "stopped" in causes
