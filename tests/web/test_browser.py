"""The dashboard in a real browser, in front of a run with real cameras."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, StorageState, WebSocket, expect, sync_playwright

from maskstream import load_config
from maskstream.config.source_settings import SourceSettings
from maskstream.store.roles import Role
from maskstream.store.store import Store
from maskstream.web.live_view import LiveView
from tests.certificates import Authority
from tests.command_lines import Forked
from tests.conftest import DEMO, ROOT
from tests.ports import free_port
from tests.receivers import wait_until
from tests.slowness import LONGEST_S, measured_slowness, slowness
from tests.store.made import event
from tests.web.browser import DESK, PHONE, focused, go, opened, signed_in
from tests.web.demo_cameras import demo_cameras, demo_jpegs
from tests.web.site import PASSWORD, QUICK, Site, running_site

pytestmark = pytest.mark.slow

LONGEST_MS = 1000 * LONGEST_S
PAGES = ("#/now", "#/now/entrance", "#/events?period=all", "#/cameras", "#/cameras/entrance/zones", "#/system", "#/audit")


@dataclass(frozen=True)
class Dashboard:
    """A run with its dashboard."""

    url: str
    cameras_url: str
    list_path: Path
    states: dict[str, StorageState]
    """The cookies of users who have logged in."""

    def get(self, path: str, user: str) -> httpx.Response:
        cookie = self.states[user]["cookies"][0]
        cookies = {cookie["name"]: cookie["value"]}
        return httpx.get(f"{self.url}{path}", cookies=cookies, trust_env=False, timeout=LONGEST_S)


@pytest.fixture(scope="module")
def browser(system_tool: Callable[[str], str]) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=system_tool("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    return demo_jpegs(str(DEMO))


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory, jpegs: list[bytes]) -> Iterator[Dashboard]:
    """Run two cameras with a dashboard; an administrator, the viewer of one camera and a display have logged in."""
    folder = tmp_path_factory.mktemp("dashboard")
    with Store(folder / "store", cost=QUICK) as store:
        store.users.add("anna", Role.ADMIN, None, PASSWORD)
        store.users.add("vera", Role.VIEWER, ("ward",), PASSWORD)
        store.users.add("wall", Role.DISPLAY, None, PASSWORD)
    with demo_cameras(jpegs, "/entrance", "/ward", "/spare") as cameras_url:
        list_path = folder / "cameras.yaml"
        list_path.write_text(camera_list(cameras_url))
        url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, str(ROOT / "run_stream.py"), "--source", str(list_path), "--web", url.partition("//")[2]]
        command += ["--set", f"store.folder={folder / 'store'}", "--set", "detector.short_side=224"]  # a busy machine keeps up
        with Forked(command, cwd=folder) as process:
            try:
                wait_until(lambda: process.poll() is not None or is_ready(url))
                assert process.poll() is None
                states = {name: signed_in(url, name, PASSWORD) for name in ("anna", "vera", "wall")}
                yield Dashboard(url, cameras_url, list_path, states)
            finally:
                process.terminate()
                assert process.wait(LONGEST_S) in (0, 143, -15)


def camera_list(url: str) -> str:
    return (
        "# the cameras of the tests\n"
        f"- name: entrance   # at the door\n  url: {url}/entrance\n"
        f"- name: ward\n  url: {url}/ward\n  zones:\n    bed: [[0, 0], [1, 0], [1, 1], [0, 1]]\n"
    )


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A dashboard without cameras, and so without a live connection."""
    with running_site(tmp_path) as running:
        yield running


def log_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in").click()


def tile(page: Page, camera: str) -> Any:
    return page.locator(".tile", has=page.get_by_text(camera, exact=True))


def expect_picture(page: Page, camera: str) -> None:
    expect(tile(page, camera)).to_be_visible(timeout=LONGEST_MS)
    expect(tile(page, camera).locator(".tile-veil")).to_be_hidden(timeout=LONGEST_MS)


def pixels(page: Page, camera: str) -> str:
    """Return the picture that is drawn of a camera."""
    return str(tile(page, camera).locator("canvas").evaluate("(canvas) => canvas.toDataURL()"))


def age_s(page: Page, camera: str) -> float:
    found = re.match(r"([\d.]+) s$", tile(page, camera).locator(".age-text").inner_text())
    return float(found[1]) if found else float("inf")


def wait_in(page: Page, holds: Callable[[], bool]) -> None:
    """Wait while the browser works: what it reports arrives only then."""
    deadline_s = time() + LONGEST_S
    while not holds():
        assert time() < deadline_s
        page.wait_for_timeout(50)


def watched(sent: list[str]) -> set[str]:
    """Return the cameras of the latest message `watch`."""
    messages = [json.loads(text) for text in sent]
    latest = [message for message in messages if message["type"] == "watch"][-1:]
    return {each["camera"] for message in latest for each in message["cameras"]}


def test_log_in_and_out(browser: Browser, site: Site) -> None:
    with opened(browser, site.url, refused=[401], without_live=True) as page:
        log_in(page, "viewer", "wrong")
        expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
        log_in(page, "viewer", PASSWORD)
        expect(page.get_by_role("navigation")).to_have_text("NowEventsCamerasSystem")
        page.reload()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_the_sixth_attempt_must_wait(browser: Browser, site: Site) -> None:
    with opened(browser, site.url, refused=[401, 429]) as page:
        for _ in range(5):
            log_in(page, "viewer", "wrong")
            expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
            expect(page.get_by_label("Password", exact=True)).to_have_value("")
            page.get_by_label("Name").fill("")
        log_in(page, "viewer", PASSWORD)
        expect(page.get_by_role("alert")).to_have_text("Too many attempts.")
        expect(page.get_by_text("Try again in")).to_be_visible()
        expect(page.get_by_role("button", name="Sign in")).to_be_disabled()


def test_over_tls_cookie_and_live_connection_are_secure(browser: Browser, tmp_path: Path) -> None:
    certificate = Authority.make(tmp_path / "authority").server("dashboard", "IP:127.0.0.1")
    settings = {"tls_certificate": str(certificate), "tls_key": str(certificate)}
    with running_site(tmp_path / "store", settings, live=LiveView(SourceSettings(load_config()))) as site:
        assert site.url.startswith("https://")
        with opened(browser, site.url, refused=[401]) as page:
            log_in(page, "viewer", PASSWORD)
            expect(page.locator(".connection")).to_have_text("Live")
            [cookie] = page.context.cookies()
            assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (
                "__Host-session",
                True,
                True,
                "Strict",
            )
            assert page.evaluate("document.cookie") == ""


def test_a_session_that_is_revoked_ends_the_page(browser: Browser, site: Site) -> None:
    state = signed_in(site.url, "viewer", PASSWORD)
    with opened(browser, f"{site.url}/#/system", state=state, refused=[401], without_live=True) as page:
        expect(page.get_by_role("heading", name="System")).to_be_visible()
        site.store.sessions.revoke_all("viewer")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def test_a_dashboard_without_cameras_says_so(browser: Browser, site: Site) -> None:
    with opened(browser, site.url, state=signed_in(site.url, "viewer", PASSWORD), without_live=True, refused=[503]) as page:
        expect(page.get_by_text("No cameras run here: this dashboard shows")).to_be_visible()


@pytest.mark.parametrize(
    ("role", "pages"),
    [
        ("display", ["Now"]),
        ("viewer", ["Now", "Events", "Cameras", "System"]),
        ("operator", ["Now", "Events", "Cameras", "System"]),
        ("admin", ["Now", "Events", "Cameras", "System", "Audit"]),
    ],
)
def test_a_role_sees_what_it_may_do(browser: Browser, site: Site, role: str, pages: list[str]) -> None:
    state = signed_in(site.url, role, PASSWORD)
    with opened(browser, f"{site.url}/#/cameras", state=state, without_live=True, refused=[403, 503]) as page:
        expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(pages)
        expect(page.get_by_role("button", name="Add camera")).to_have_count(1 if role == "admin" else 0)
        go(page, "#/system")
        page.wait_for_timeout(200)
        expect(page.get_by_text("Settings in use")).to_have_count(1 if role == "admin" else 0)


def test_events_are_filtered_and_paged(browser: Browser, site: Site) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    for number in range(120):
        camera, label = ("door", "no_mask") if number % 3 else ("ward", "incorrect")
        changes = {"source": camera, "label": label, "zone": "bed" if camera == "ward" else None}
        ended = {"phase": "end", "ended_s": 1.0, "ended_utc": now, "cause": "gone"} if number else {}
        site.store.events.put(event(number, began_utc=now, last_utc=now, **changes, **ended))
    wait_until(lambda: len(site.store.events.page(cameras=None, limit=200).events) == 120)
    rows = ".event-row"
    with opened(browser, f"{site.url}/#/events", state=signed_in(site.url, "viewer", PASSWORD), without_live=True) as page:
        expect(page.locator(rows)).to_have_count(50)
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(rows)).to_have_count(100)
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(rows)).to_have_count(120)
        expect(page.get_by_role("button", name="Show more")).to_be_hidden()
        page.get_by_label("Label").select_option("Incorrect")
        expect(page.locator(rows)).to_have_count(40)
        assert set(page.locator(f"{rows} .col-camera").all_inner_texts()) == {"ward"}
        page.get_by_label("Open only").check()
        expect(page.locator(rows)).to_have_count(1)
        page.reload()  # the filters are in the address
        expect(page.locator(rows)).to_have_count(1)
        page.locator("summary").press("Enter")
        expect(page.locator(".event-more")).to_contain_text("e-0")


def test_the_other_language(browser: Browser, site: Site) -> None:
    with opened(browser, f"{site.url}/#/events", state=signed_in(site.url, "viewer", PASSWORD), without_live=True) as page:
        page.get_by_label("Language").select_option("Deutsch")
        expect(page.get_by_role("heading", name="Ereignisse")).to_be_visible()
        assert page.locator("html").get_attribute("lang") == "de"


def test_the_audit_names_who_logged_in(browser: Browser, site: Site) -> None:
    with opened(browser, f"{site.url}/#/audit", state=signed_in(site.url, "admin", PASSWORD), without_live=True) as page:
        expect(page.locator("tbody tr").first).to_contain_text("admin")
        expect(page.locator("tbody tr").first).to_contain_text("127.0.0.1")


def test_tiles_are_young_and_change(browser: Browser, dashboard: Dashboard) -> None:
    with opened(browser, dashboard.url, state=dashboard.states["anna"]) as page:
        expect_picture(page, "entrance")
        allowed_s = slowness()
        wait_until(lambda: age_s(page, "entrance") < allowed_s)
        before = pixels(page, "entrance")
        wait_until(lambda: pixels(page, "entrance") != before)
        assert len(set(page.locator(".tile-name").all_inner_texts())) == 2
        people = "[1-9] (person|people) with(out)? a mask"
        expect(tile(page, "entrance")).to_have_attribute("aria-label", re.compile(f"entrance: Online, .*{people}"))


def test_a_viewer_of_one_camera_gets_nothing_of_another(browser: Browser, dashboard: Dashboard) -> None:
    for path in ("", "/latest.jpg", "/mjpeg"):
        assert dashboard.get(f"/api/v1/cameras/entrance{path}", "vera").status_code == 403
    watch = """
    () => new Promise((done) => {
        const socket = new WebSocket(`ws://${location.host}/api/v1/live`);
        const seen = [];
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => socket.send(JSON.stringify({type: 'watch', rate: 10,
            cameras: [{camera: 'entrance', width: 320}, {camera: 'ward', width: 320}]}));
        socket.onmessage = ({data}) => {
            if (typeof data === 'string') {
                const message = JSON.parse(data);
                if (message.type === 'cameras') seen.push(...message.cameras.map((view) => view.camera));
                if (message.type === 'event') seen.push(message.event.source);
                return;
            }
            const head = new Uint8Array(data, 4, new DataView(data).getUint32(0));
            const {camera, frame} = JSON.parse(new TextDecoder().decode(head));
            seen.push(`tile of ${camera}`);
            socket.send(JSON.stringify({type: 'ack', camera, frame}));
            if (seen.filter((each) => each === 'tile of ward').length === 5) { socket.close(); done(seen); }
        };
    })
    """
    with opened(browser, dashboard.url, state=dashboard.states["vera"]) as page:
        expect_picture(page, "ward")
        assert page.locator(".tile-name").all_inner_texts() == ["ward"]
        assert set(page.evaluate(watch)) == {"ward", "tile of ward"}


def test_a_display_sees_tiles_alone(browser: Browser, dashboard: Dashboard) -> None:
    assert dashboard.get("/api/v1/events", "wall").status_code == 403
    with opened(browser, dashboard.url, state=dashboard.states["wall"]) as page:
        expect_picture(page, "ward")
        tile(page, "ward").click()
        expect(page.get_by_role("heading", name="ward")).to_be_visible()
        expect(page.locator(".large-picture")).to_be_visible()
        expect(page.locator(".large-picture .tile-veil")).to_be_hidden()


def test_an_event_appears_within_two_seconds(browser: Browser, dashboard: Dashboard) -> None:
    """Between the frame that begins an event and its line on the page."""
    messages: list[tuple[float, str]] = []

    def heard(socket: WebSocket) -> None:
        socket.on("framereceived", lambda data: messages.append((time(), data)) if isinstance(data, str) else None)

    with opened(browser, dashboard.url, state=dashboard.states["anna"]) as page:
        page.on("websocket", heard)
        page.goto(f"{dashboard.url}/#/events?period=all")
        page.reload()
        with measured_slowness() as slowest:
            page.locator(".event-row.new").first.wait_for(timeout=LONGEST_MS)
            appeared_s = page.evaluate("() => Date.now() / 1000")
            allowed_s = 2 * slowest()
        starts = [found for _, text in messages if (found := re.search(r'"phase": ?"start".*?"last_utc": ?"([^"]+)"', text))]
        assert starts
        began_s = datetime.fromisoformat(starts[0][1]).timestamp()
        assert appeared_s - began_s < allowed_s


def test_hidden_pages_and_tiles_out_of_sight_are_not_sent(browser: Browser, dashboard: Dashboard) -> None:
    sent: list[str] = []
    with opened(browser, dashboard.url, state=dashboard.states["anna"]) as page:
        page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append(str(data))))
        page.reload()
        wait_in(page, lambda: {"ward", "entrance"} <= watched(sent))
        hide = "Object.defineProperty(document, 'visibilityState', {value: '%s', configurable: true});"
        hide += "document.dispatchEvent(new Event('visibilitychange'));"
        page.evaluate(hide % "hidden")
        wait_in(page, lambda: watched(sent) == set())
        page.evaluate(hide % "visible")
        wait_in(page, lambda: "ward" in watched(sent))
        page.set_viewport_size({"width": 390, "height": 220})
        wait_in(page, lambda: len(watched(sent)) == 1)


def test_a_browser_that_draws_nothing_does_not_stop_another(browser: Browser, dashboard: Dashboard) -> None:
    """It gets one tile of each camera and no more; when it draws again, it gets the newest ones."""
    count = """
    window.asked = 0;
    window.gate = new Promise((open) => { window.openGate = open; });
    if (%s) window.openGate();
    const draw = createImageBitmap;
    window.createImageBitmap = async (...given) => {
        window.asked += 1;
        await window.gate;
        return draw(...given);
    };
    """
    state = dashboard.states["anna"]
    with opened(browser, dashboard.url, state=state) as quick, opened(browser, dashboard.url, state=state) as stuck:
        for page, draws in ((stuck, "false"), (quick, "true")):
            page.add_init_script(count % draws)
            page.reload()
        wait_until(lambda: int(stuck.evaluate("window.asked")) == 2)
        wait_until(lambda: int(quick.evaluate("window.asked")) >= 12)
        assert stuck.evaluate("window.asked") == 2
        stuck.evaluate("window.openGate()")
        wait_until(lambda: int(stuck.evaluate("window.asked")) >= 6)
        allowed_s = 2 * slowness()
        wait_until(lambda: age_s(stuck, "ward") < allowed_s)


def test_everything_works_with_the_keyboard(browser: Browser, dashboard: Dashboard) -> None:
    with opened(browser, dashboard.url, state=dashboard.states["anna"]) as page:
        expect_picture(page, "ward")
        page.reload()
        expect(page.locator(".tile")).to_have_count(2)
        page.keyboard.press("Tab")
        seen = [focused(page)]
        while not seen[-1].startswith(("entrance:", "ward:")):
            page.keyboard.press("Tab")
            seen.append(focused(page))
            assert len(seen) < 20, seen
        assert {"Language", "Sign out", "Now", "Events", "Cameras", "System", "Audit"} <= set(seen)
        first = seen[-1].partition(":")[0]
        page.keyboard.press("ArrowRight")
        second = focused(page).partition(":")[0]
        assert {first, second} == {"entrance", "ward"}
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=second)).to_be_focused()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("heading", name=first)).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".tile")).to_have_count(2)
        page.locator(".tile").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".large-picture")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator(".tile:focus")).to_have_count(1)


def test_zones_are_drawn_with_the_keyboard_and_the_mouse(browser: Browser, dashboard: Dashboard) -> None:
    with opened(browser, f"{dashboard.url}/#/cameras/entrance/zones", state=dashboard.states["anna"]) as page:
        add = page.get_by_role("button", name="Add rectangle")
        expect(add).to_be_enabled()
        add.press("Enter")
        page.keyboard.type("door")
        page.locator("[data-key=corner-0]").focus()
        focused(page)
        for _ in range(5):
            page.keyboard.press("ArrowLeft")
        page.keyboard.press("Shift+ArrowUp")
        expect(page.locator("[data-key=corner-0]")).to_have_attribute(
            "aria-label", re.compile("25 % from the left, 25 % from the top")
        )
        page.get_by_role("button", name="Draw zone").click()
        shapes = page.locator(".zone-shapes")
        box = shapes.bounding_box()
        assert box is not None
        for x, y in ((0.8, 0.1), (0.95, 0.1), (0.95, 0.4), (0.8, 0.1)):
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        expect(page.get_by_label("Name of the zone")).to_have_count(2)
        page.get_by_label("Name of the zone").last.fill("door")
        expect(page.get_by_text("Another zone has this name.").first).to_be_visible()
        expect(page.get_by_role("button", name="Save zones")).to_be_disabled()
        page.get_by_label("Name of the zone").last.fill("desk")
        page.get_by_role("button", name="Save zones").click()
        expect(page.get_by_text("The zones of entrance are saved.")).to_be_visible()
        written = dashboard.list_path.read_text()
        assert "# at the door" in written
        assert "0.25, 0.25" in written
        assert {"door", "desk"} <= {word.strip(":") for word in written.split()}
        page.get_by_role("button", name="Remove desk").click()
        go(page, "#/now")
        expect(page.get_by_role("dialog")).to_contain_text("Leave without saving?")
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_label("Name of the zone")).to_have_count(1)
        page.get_by_role("button", name="Undo").click()
        expect(page.get_by_label("Name of the zone")).to_have_count(2)


def test_a_camera_is_added_edited_and_removed(browser: Browser, dashboard: Dashboard) -> None:
    with opened(browser, f"{dashboard.url}/#/cameras", state=dashboard.states["anna"], refused=[422]) as page:
        page.get_by_role("button", name="Add camera").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill("spare")
        dialog.get_by_label("Address").fill("nonsense://x")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_role("alert")).to_contain_text("nonsense")
        dialog.get_by_label("Address").fill(f"{dashboard.cameras_url}/spare")
        dialog.get_by_role("button", name="Test connection").click()
        expect(dialog.get_by_text("Connected: 640 × 360")).to_be_visible()
        dialog.get_by_role("button", name="Save").click()
        row = page.locator("tbody tr", has_text="spare")
        expect(row).to_contain_text("Online", timeout=LONGEST_MS)
        page.get_by_role("button", name="Edit: spare").click()
        dialog.get_by_label("Anonymise faces").select_option("All faces")
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_text("spare is saved.")).to_be_visible()
        assert "blur: all" in dashboard.list_path.read_text()
        page.get_by_role("button", name="Remove: spare").click()
        dialog.get_by_role("button", name="Remove").click()
        expect(row).to_have_count(0, timeout=LONGEST_MS)
        assert "spare" not in dashboard.list_path.read_text()


@pytest.mark.parametrize(
    ("size", "scheme", "locale"),
    [(DESK, "light", "en-GB"), (DESK, "dark", "en-GB"), (PHONE, "light", "en-GB"), (PHONE, "dark", "de-DE")],
    ids=["desk", "desk-dark", "phone", "phone-dark-german"],
)
def test_pages_fit_the_window(browser: Browser, dashboard: Dashboard, size: tuple[int, int], scheme: Any, locale: str) -> None:
    """Each page as an image in out/screenshots, for people to look at."""
    folder = ROOT / "out" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    with opened(browser, dashboard.url, state=dashboard.states["anna"], size=size, scheme=scheme, locale=locale) as page:
        for address in PAGES:
            go(page, address)
            expect(page.locator("h1")).to_be_visible()
            page.wait_for_timeout(800)
            if address.startswith("#/now"):
                expect(page.locator(".tile-veil:visible")).to_have_count(0)
            name = re.sub(r"\W+", "-", address.partition("?")[0]).strip("-")
            page.screenshot(path=folder / f"{name}-{size[0]}-{scheme}.png")
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], address


def test_a_lost_camera_is_first_and_says_since_when(browser: Browser, dashboard: Dashboard, jpegs: list[bytes]) -> None:
    before = dashboard.list_path.read_text()
    with opened(browser, dashboard.url, state=dashboard.states["anna"]) as page:
        with demo_cameras(jpegs, "/dock") as dock:
            dashboard.list_path.write_text(f"{before}- name: dock\n  url: {dock}/dock\n")
            expect_picture(page, "dock")
        expect(tile(page, "dock")).to_contain_text(re.compile("(Offline|Reconnecting) since [0-9:]{5}"), timeout=LONGEST_MS)
        expect(page.locator(".tile").first).to_contain_text("dock")
        expect(page.locator(".summary")).to_contain_text("1 without picture")
        dashboard.list_path.write_text(before)
        expect(tile(page, "dock")).to_have_count(0, timeout=LONGEST_MS)
