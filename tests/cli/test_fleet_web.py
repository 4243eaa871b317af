"""What `maskstream fleet --web` refuses before an agent is started."""

import subprocess
import sys
from pathlib import Path
from socket import create_server

import pytest

from tests.conftest import ROOT
from tests.slowness import LONGEST_S


@pytest.mark.parametrize(
    ("settings", "options", "code", "says"),
    [
        ("{}", ["--web", "127.0.0.1:{port}"], 2, "web.listen: 127.0.0.1:{port}: the port is in use by another program"),
        ("{}", ["--web", "0.0.0.0:{port}"], 2, "set web.tls_certificate and web.tls_key, or web.trusted_proxies"),
        ("{}", ["--web", "127.0.0.1:0", "--set", "store.folder={folder}/site.yaml"], 5, "the store cannot be opened"),
        ("{web: {listen: '127.0.0.1:{port}'}}", [], 2, "the port is in use by another program"),
        ("{tracking: {enabled: false}}", ["--web", "127.0.0.1:0"], 2, "tracking.enabled: false, but events, the summary and"),
    ],
    ids=["port", "no TLS", "store", "port of the site", "no tracking"],
)
def test_a_wrong_setting_ends_the_start(settings: str, options: list[str], code: int, says: str, tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        def filled(text: str) -> str:
            return text.replace("{port}", port).replace("{folder}", str(tmp_path))

        site = f"site: ward\nfolder: {tmp_path / 'state'}\nsettings: {filled(settings)}\n"
        (tmp_path / "site.yaml").write_text(f"{site}cameras:\n- {{name: door, url: 'rtsp://192.0.2.1/1'}}\n")
        command = [sys.executable, "-m", "maskstream", "fleet", "--site", str(tmp_path / "site.yaml")]
        command += ["--set", f"store.folder={tmp_path / 'store'}", *map(filled, options)]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    assert (ran.returncode, ran.stderr.count("\n")) == (code, 1), ran.stderr
    assert filled(says) in ran.stderr
    assert not (tmp_path / "state" / "agents").exists()
