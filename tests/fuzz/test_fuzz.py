from pathlib import Path
from random import Random

import pytest

from tests.fuzz import faulty, session
from tests.fuzz.mutation import mutate
from tests.fuzz.session import Plan, run
from tests.fuzz.targets import TARGETS
from tests.slowness import slowness

SEED = 19
COUNTS = {"pictures": 500, "labels": 400, "settings": 250, "cameras": 300, "sites": 200, "predictions": 150}
COUNTS |= {"weights": 500, "results": 300, "containers": 150, "graphs": 150}
"""Files that take about six seconds together, for each kind."""


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_damaged_files_end_in_an_answer_or_an_error_of_ours(target: str, tmp_path: Path) -> None:
    tried, findings = run(Plan(target, SEED, 0, COUNTS[target], tmp_path / "kept"))
    assert tried == COUNTS[target]
    assert not findings, "\n".join(map(str, findings))


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("raises", "KeyError: 'what nobody has thought of'"),
        ("crashes", "ended by SIGSEGV; Fatal Python error: Segmentation fault"),
        ("explodes", "MemoryError"),
        ("babbles", "a message of 9 letters"),
        ("hoards", " MB, at most 100 are allowed"),
        pytest.param("computes", "ended by SIGXCPU", marks=pytest.mark.slow),
        pytest.param("hangs", "said nothing", marks=pytest.mark.slow),
    ],
)
def test_what_no_reader_may_do_is_found(target: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if target == "hangs":
        monkeypatch.setattr(session, "SILENT_S", 15.0 * slowness())  # within which it has loaded what it needs
    tried, findings = run(Plan(target, SEED, 0, 1, tmp_path / "kept", "tests.fuzz.faulty"))
    assert (tried, len(findings)) == (1, 1)
    assert reason in findings[0].reason
    assert findings[0].kept.parent == tmp_path / "kept"
    assert findings[0].kept.read_bytes() != faulty.WHOLE
    assert f"--only {target} --seed {SEED} --number 0" in str(findings[0])


def test_a_crash_is_no_end(tmp_path: Path) -> None:
    tried, findings = run(Plan("crashes", SEED, 0, 2, tmp_path, "tests.fuzz.faulty"))
    assert (tried, [finding.number for finding in findings]) == (2, [0, 1])


def test_a_reader_that_behaves_passes(tmp_path: Path) -> None:
    assert run(Plan("behaves", SEED, 0, 100, tmp_path, "tests.fuzz.faulty")) == (100, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x", b'{"a": [1, {"b": null}]}', b"a: 1\nb: 2\n", bytes(range(256)) * 4])
def test_the_same_numbers_give_the_same_damage(content: bytes) -> None:
    damaged = [mutate(content, [content, b"other"], Random(number)) for number in range(300)]
    assert damaged == [mutate(content, [content, b"other"], Random(number)) for number in range(300)]
    assert len(set(damaged)) > 10
