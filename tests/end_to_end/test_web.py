"""The dashboard from the command line: a run with --web, `maskstream dashboard`, `maskstream health`."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_server

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from maskstream.cli.main import main
from maskstream.store.roles import Role
from maskstream.store.store import Store
from tests.command_lines import ROOT, Forked, run
from tests.conftest import DEMO
from tests.end_to_end.test_run_stream import LEAVES_WITHIN_S, command
from tests.servers import http_server, mjpeg
from tests.slowness import LONGEST_S, promised
from tests.web.site import PASSWORD, QUICK

ADDRESS = re.compile(r"dashboard: (https?://\S+)\n")


MAIN = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from maskstream.cli.main import main; sys.exit(main(sys.argv[1:]))"


def maskstream(*arguments: object) -> list[str]:
    return [sys.executable, "-c", MAIN, *map(str, arguments)]


@dataclass(frozen=True)
class Running:
    """A running program with a dashboard."""

    process: "subprocess.Popen[str]"
    url: str
    log: Path

    def browser(self) -> httpx.Client:
        """Return a browser in which the administrator has logged in."""
        client = httpx.Client(base_url=self.url, headers={"origin": self.url}, trust_env=False, verify=False, timeout=60)
        answer = client.post("/api/v1/session", json={"name": "boss", "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return client


@contextmanager
def running(line: Sequence[str], folder: Path) -> Iterator[Running]:
    """Run a command line until the block ends; its dashboard has the administrator `boss`."""
    with Store(folder / "store", cost=QUICK) as store:
        store.users.add("boss", Role.ADMIN, None, PASSWORD)
    log = folder / "log.txt"
    with log.open("w") as written, Forked([*line, "--set", f"store.folder={folder / 'store'}"], stderr=written) as process:
        try:
            deadline_s = time.monotonic() + LONGEST_S
            while (found := ADDRESS.search(log.read_text())) is None:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline_s
                time.sleep(0.02)
            yield Running(process, found[1], log)
        finally:
            process.kill()


def refused(*arguments: object) -> str:
    """Return the one line with which `maskstream run` refuses to start."""
    done = run(command("--source", DEMO, *arguments), cwd=ROOT)
    assert done.returncode == 2, done.stderr
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.slow
def test_a_run_with_a_watching_browser_ends_by_ctrl_c_in_bounded_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = command("--source", tmp_path / "cameras.yaml", "--web", "127.0.0.1:0")
    with ExitStack() as opened:
        address = opened.enter_context(http_server({"/ward": mjpeg(5)}))
        (tmp_path / "cameras.yaml").write_text(f"- {json.dumps({'name': 'ward', 'url': f'{address}/ward'})}\n")
        started = opened.enter_context(running(line, tmp_path))
        browser = opened.enter_context(closing(started.browser()))
        assert [camera["camera"] for camera in browser.get("/api/v1/cameras").json()["cameras"]] == ["ward"]
        cookie = f"session={browser.cookies['session']}"
        headers = {"cookie": cookie}
        url = f"ws{started.url.removeprefix('http')}/api/v1/live"
        with connect(url, origin=started.url, additional_headers=headers, proxy=None, close_timeout=1) as live:  # type: ignore[arg-type]
            live.send(json.dumps({"type": "watch", "cameras": [{"camera": "ward", "width": 320}], "rate": 8}))
            while not isinstance(live.recv(timeout=LONGEST_S), bytes):
                pass  # until the first tile
            assert main(["health", "--web", started.url]) == 0
            assert capsys.readouterr().out == f"{started.url}: alive and ready\n"
            with promised(LEAVES_WITHIN_S):
                started.process.send_signal(signal.SIGINT)
                assert started.process.wait(LONGEST_S) == 130
            with suppress(ConnectionClosed):
                while True:
                    live.recv(timeout=10)
    log = started.log.read_text()
    assert "Traceback" not in log
    assert [entry for entry in log.splitlines() if " ERROR " in entry or " WARNING " in entry] == []
    assert main(["health", "--web", started.url]) == 1
    with Store(tmp_path / "store") as store:
        assert [each.state for each in store.states.page(cameras=("ward",)).states] == ["ended", "online", "connecting"]


def test_the_dashboard_without_cameras_shows_the_store_until_a_signal(tmp_path: Path) -> None:
    with running(maskstream("dashboard", "--web", "127.0.0.1:0"), tmp_path) as started, closing(started.browser()) as browser:
        assert browser.get("/").status_code == 200
        assert browser.get("/api/v1/events").json() == {"events": [], "next": None}
        with promised(LEAVES_WITHIN_S):
            started.process.send_signal(signal.SIGTERM)
            assert started.process.wait(LONGEST_S) == 143


def test_a_port_in_use_ends_the_start_before_any_output(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        store = f"store.folder={tmp_path / 'store'}"
        line = refused("--web", f"127.0.0.1:{port}", "--set", store, "--jsonl", tmp_path / "out.jsonl")
    assert line == f"web.listen: 127.0.0.1:{port}: the port is in use by another program; choose another port"
    assert list(tmp_path.iterdir()) == []


def test_an_address_for_others_ends_the_start(tmp_path: Path) -> None:
    line = refused("--web", "0.0.0.0:0", "--set", f"store.folder={tmp_path / 'store'}")
    assert line.startswith("web.listen: 0.0.0.0:0: other machines could read passwords and images; set web.tls_certificate")


def test_people_must_be_tracked(tmp_path: Path) -> None:
    line = refused("--web", "127.0.0.1:0", "--set", "tracking.enabled=false", "--set", f"store.folder={tmp_path / 'store'}")
    assert line == "tracking.enabled: false, but events, the summary and the dashboard need tracking; set it to true"


@pytest.mark.parametrize("missing", ["starlette", "ruamel"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(missing: str, tmp_path: Path) -> None:
    hidden = f"import sys; sys.modules[{missing!r}] = None; {MAIN}"
    package = {"ruamel": "ruamel.yaml"}.get(missing, missing)
    store = ("--set", f"store.folder={tmp_path / 'store'}")
    for line in (["run", "--source", str(DEMO), "--web", *store], ["dashboard", *store]):
        done = run([sys.executable, "-c", hidden, *line])
        assert (done.returncode, done.stderr.decode()) == (2, f"--web needs {package}; pip install 'maskstream[web]'\n")


@pytest.mark.parametrize("url", ["nonsense://x", "http://", "http://127.0.0.1:port"])
def test_health_refuses_what_is_no_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--web", url]) == 2
    assert capsys.readouterr().err == f"--web: {url}: not an address; give http://127.0.0.1:8675 or similar\n"


def test_health_of_nothing_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--web", "http://127.0.0.1:1"]) == 1
    assert capsys.readouterr().err == "http://127.0.0.1:1/healthz: no answer: Connection refused; is it running?\n"
