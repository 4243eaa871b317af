"""`maskstream check`: each problem is a real one."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from socket import create_server
from typing import Any

import pytest

from maskstream.cli.main import main
from maskstream.store.schema import FILE_NAME
from maskstream.store.store import Store
from tests.certificates import Authority
from tests.conftest import ROOT
from tests.ports import free_port
from tests.receivers import broker, web_receiver
from tests.servers import http_server, locked, mjpeg
from tests.slowness import LONGEST_S


def check(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str]]:
    """Return the exit code and the lines that are no `ok`."""
    code = main(["check", *map(str, arguments)])
    out, err = capsys.readouterr()
    assert err == ""
    return code, [" ".join(line.split()) for line in out.splitlines() if not line.startswith("ok ")]


def settings(**values: object) -> list[str]:
    """Return `--set` options; `__` is a dot."""
    return [text for key, value in values.items() for text in ("--set", f"{key.replace('__', '.')}={value}")]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CAMERA_PASSWORD", "hunter22")
    path = tmp_path / "site.yaml"
    path.write_text(
        "- name: ward\n  url: rtsp://me:${CAMERA_PASSWORD}@127.0.0.1:9/1\n- name: gate\n  url: rtsp://127.0.0.1:9/2\n"
    )
    return path


def test_a_site_without_problems(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(site), "--web", f"127.0.0.1:{free_port()}"]) == 0
    lines = [line.partition(":")[0].split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert lines == [["ok", name] for name in ("settings", "cameras", "models", "dashboard", "store.folder")]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["site.yaml"]


def test_wrong_settings_end_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("detector: {min_scor: 0.3}\n")
    for arguments, says in (
        (["--config", config], "unknown key detector.min_scor; did you mean min_score?"),
        (settings(detector__min_score=2), "detector.min_score: 2 is not allowed"),
        (["--config", tmp_path / "no.yaml"], "cannot be read: No such file or directory"),
    ):
        code, (line,) = check(capsys, *arguments)
        assert (code, line.startswith("error settings: "), says in line) == (2, True, True), line


def test_every_wrong_camera_of_a_list_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "- {name: a, url: 'rtsp://u:${CAMERA_NOT_SET}@h/1'}\n"
        "- {name: b, url: rtsp://h/2, zones: {door: [[0, 0], [1.5, 0], [1, 1]]}}\n"
        "- {name: c, url: rtsp://h/3}\n"
        "- {name: d, url: rtsp://h/4, detector: {every: 2}}\n"
    )
    code, lines = check(capsys, path)
    assert code == 2
    assert [line.partition(": camera ")[2][:1] for line in lines] == ["1", "2", "4"]
    assert "CAMERA_NOT_SET is not set; export it first" in lines[0]
    assert "zones.door: 1.5 is not allowed" in lines[1]
    assert "detector.every cannot be set for one camera" in lines[2]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("- {name: a, url: rtsp://h/1}\n- {name: a, url: rtsp://h/2}", 2, "a: given twice"),
        ("a: [", 2, "not valid YAML"),
        ("- {name: a, url: nowhere.mp4}", 3, "nowhere.mp4: no such file"),
        ("- {name: a, url: 'nowhere/*.mp4'}", 3, "no file matches"),
        (None, 3, "no such file"),
    ],
)
def test_wrong_lists(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, code: int, says: str) -> None:
    path = tmp_path / "site.yaml"
    if text is not None:
        path.write_text(text)
    found, (line,) = check(capsys, path)
    assert (found, says in line) == (code, True), line


def test_a_zone_where_the_detector_does_not_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.yaml"
    zones = "{left: [[0, 0], [0.2, 0], [0.2, 1]], middle: [[0.1, 0], [0.6, 0], [0.6, 1]]}"
    path.write_text(f"- {{name: a, url: rtsp://h/1, detector: {{region: [0.5, 0, 1, 1]}}, zones: {zones}}}")
    assert check(capsys, path) == (
        0,
        ["warning camera a: zones.left is outside of detector.region, where no face is found; change one of them"],
    )


def test_a_secret_that_is_not_set(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        settings(events__mqtt="mqtt://me:${BROKER_NOT_SET}@127.0.0.1"),
        settings(events__webhooks='[{url: "http://127.0.0.1/x", secret: "${BROKER_NOT_SET}"}]'),
        ["--web", f"127.0.0.1:{free_port()}", *settings(web__proxy_secret="${BROKER_NOT_SET}")],
    ):
        code, (line,) = check(capsys, site, *arguments)
        assert (code, "the environment variable BROKER_NOT_SET is not set; export it first" in line) == (2, True), line


def test_weights_that_do_not_exist(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, (line,) = check(capsys, site, *settings(classifier__weights="no.safetensors"))
    assert (code, "classifier.weights: no.safetensors: no such file" in line) == (4, True), line
    code, (line,) = check(capsys, site, *settings(detector__name="yolo"))
    assert (code, "detector.name: 'yolo' is not known" in line) == (2, True), line


def test_a_port_in_use(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        code, (line,) = check(capsys, site, "--web", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (code, "the port is in use by another program" in line) == (2, True), line
    code, (line,) = check(capsys, site, "--web", "192.0.2.1:8675", *settings(web__trusted_proxies="[127.0.0.1]"))
    assert (code, "this machine does not have this address" in line) == (2, True), line


def test_certificates(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificates = Authority.make(tmp_path / "tls")
    files = {days: certificates.server(f"server{days}", "IP:127.0.0.1", days=days) for days in (-1, 9, 30)}

    def with_files(certificate: Path, key: Path) -> tuple[int, list[str]]:
        options = settings(web__tls_certificate=certificate, web__tls_key=key)
        return check(capsys, site, "--web", f"127.0.0.1:{free_port()}", *options)

    assert with_files(files[30], files[30]) == (0, [])
    code, (line,) = with_files(files[9], files[9])
    assert (code, line.startswith("warning certificate: expires in 9 days, on 20"), "renew it" in line) == (0, True, True), line
    code, (line,) = with_files(files[-1], files[-1])
    assert (code, "has expired; renew it" in line) == (2, True), line
    code, (line,) = with_files(files[30], files[9])
    assert (code, "is not the key of" in line) == (2, True), line


def test_the_broker(system_tool: Callable[[str], str], site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    executable, port = system_tool("mosquitto"), free_port()
    code, (line,) = check(capsys, site, *settings(events__mqtt=f"mqtt://127.0.0.1:{port}"))
    assert (code, f"MQTT broker 127.0.0.1:{port}: the connection was refused" in line) == (5, True), line
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "me", "hunter22"], check=True, capture_output=True)
    with broker(executable, tmp_path, port, f"password_file {passwords}", "allow_anonymous false"):
        address = "mqtt://me:${CAMERA_PASSWORD}@127.0.0.1:"
        assert check(capsys, site, *settings(events__mqtt=f"{address}{port}")) == (0, [])
        code, (line,) = check(capsys, site, *settings(events__mqtt=f"mqtt://me:sesame77@127.0.0.1:{port}"))
        assert (code, "check user and password in events.mqtt" in line, "sesame77" in line) == (5, True, False), line


def test_the_server_of_a_webhook(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def with_url(url: str) -> tuple[int, list[str]]:
        return check(capsys, site, *settings(events__webhooks=f"[{{url: '{url}', name: desk}}]"))

    with web_receiver() as posts:
        assert with_url(posts.url) == (0, [])
        assert posts.asked == []
        code, (line,) = with_url(posts.url.replace("http://", "https://"))
        assert (code, "webhook desk: the TLS handshake failed" in line) == (5, True), line
    code, (line,) = with_url(posts.url)
    assert (code, "webhook desk: the connection was refused" in line, "secret-path" in line) == (5, True, False), line


WITH_DISKS = """
mount -t tmpfs -o size=64k tmpfs full && { head -c 100k /dev/zero > full/others; } 2> /dev/null
mount -t tmpfs -o ro tmpfs readonly && exec "$@"
"""
CHECK_EACH = """
import sys
from maskstream.cli.main import main
for folder in sys.argv[1:]:
    print(main(["check", "--set", f"store.folder={folder}"]))
"""


def test_folders_that_are_read_only_or_full(tmp_path: Path) -> None:
    folders = [tmp_path / "readonly", tmp_path / "full"]
    for folder in folders:
        folder.mkdir()
    child = [sys.executable, "-c", CHECK_EACH, *map(str, folders)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", WITH_DISKS, "sh", *child],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=LONGEST_S,
        check=False,
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"needs the right to mount: {done.stderr.strip()}")
    read_only, full = (line for line in done.stdout.splitlines() if "store.folder" in line)
    assert (read_only.startswith("error"), "no permission" in read_only) == (True, True), done.stdout
    assert (full.startswith("error"), "No space left on device" in full) == (True, True), done.stdout
    assert [line for line in done.stdout.splitlines() if line.isdecimal()] == ["5", "5"]


def test_a_store_that_a_run_would_refuse(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(tmp_path / "store"):
        pass
    option = settings(store__folder=tmp_path / "store")
    before = (tmp_path / "store" / FILE_NAME).read_bytes()
    assert check(capsys, site, *option) == (0, [])
    assert (tmp_path / "store" / FILE_NAME).read_bytes() == before
    database = sqlite3.connect(tmp_path / "store" / FILE_NAME)
    database.execute("PRAGMA user_version=99")
    database.close()
    code, (line,) = check(capsys, site, *option)
    assert (code, "the store has schema 99" in line) == (2, True), line
    (tmp_path / "store" / FILE_NAME).write_bytes(b"not a database" * 100)
    code, (line,) = check(capsys, site, *option)
    assert (code, "it is damaged" in line) == (5, True), line


def test_cameras_are_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "site.yaml"
    with http_server({"/live": mjpeg(), "/locked": locked(mjpeg())}) as address:
        cameras = {
            "good": f"{address}/live",
            "locked": f"{address.replace('://', '://me:sesame77@')}/locked",
            "gone": f"{address}/no",
        }
        path.write_text("".join(f"- name: {name}\n  url: {url}\n" for name, url in cameras.items()))
        code = main(["check", str(path), "--cameras"])
        out, _ = capsys.readouterr()
        assert main(["check", str(path)]) == 0
    assert (code, "sesame77" in out) == (3, False)
    good, refused, gone = out.splitlines()[-3:]
    assert good.startswith("ok       camera good: sends 160x120")
    assert refused.startswith("error    camera locked: ")
    assert gone.startswith("error    camera gone: ")


def test_json_and_the_code_of_the_first_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", "--json", "--source", "nowhere.mp4", *settings(classifier__weights="no.safetensors")])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (code, found["ok"], found["exit_code"]) == (4, False, 4)
    errors = [each for each in found["findings"] if each["level"] == "error"]
    assert [each["subject"] for each in errors] == ["models", "camera nowhere.mp4"]
    assert found["findings"][0] == {"level": "ok", "subject": "settings", "detail": "all keys and values are allowed"}
