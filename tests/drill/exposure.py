"""Secrets in URLs of cameras outside of user and password before an @: parameters, and tokens in the path."""

from pathlib import Path
from secrets import token_hex

import psutil

from tests.drill.child import QUICK_MODEL, Child, child, expect
from tests.drill.table import Table
from tests.servers import http_server, mjpeg

_OUTPUTS = {"--csv": "faces.csv", "--events": "events.jsonl", "--summary": "summary.json"}


def exposure(table: Table, folder: Path, _clip: Path) -> None:
    """Watch such a camera with every output, and search the list of processes and all files."""
    with table.case(
        "a camera whose URL has user, password and token as parameters and in its path",
        "read, and not found in the list of processes or in names and contents of files",
    ) as row:
        user, password, token = (f"{prefix}{token_hex(16)}" for prefix in "upt")
        path = f"/{token}/video"
        with http_server({path: mjpeg(fps=10)}) as address:
            url = f"{address}{path}?user={user}&pwd={password}&channel=1"
            outputs = [part for option, name in _OUTPUTS.items() for part in (option, folder / name)]
            queue = f"events.queue={folder / 'queue.db'}"
            broker = f"events.mqtt=mqtt://{user}:{password}@127.0.0.1:1"
            given = ("--source", url, *outputs, "--output", folder / "recording.mp4", "--set", broker, "--set", queue)
            with child(table.machine, folder, *given, *QUICK_MODEL) as run:
                run.wait_for_frames(3)
                seen = _visible_to_others(run)
                run.leave()
        expect("--source ***" in seen, f"the list of processes: {seen}")
        files = [file for file in folder.rglob("*") if file.is_file()]
        texts = {"the list of processes": seen} | {str(file): f"{file}\n{file.read_bytes().decode('latin-1')}" for file in files}
        exposed = [where for where, text in texts.items() if any(secret in text for secret in (user, password, token))]
        expect(not exposed, f"in {', '.join(exposed)}")
        row.saw(
            f"{run.records()[0]['source'].partition('?')[2]}; {len(files)} files searched; the title is {seen.split(' | ')[0]}"
        )


def _visible_to_others(run: Child) -> str:
    process = psutil.Process(run.process.pid)
    return " | ".join(" ".join(one.cmdline()).strip() for one in (process, *process.children(recursive=True)))
