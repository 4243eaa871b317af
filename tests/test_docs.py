"""README and docs: links lead somewhere, commands have options and settings that exist, pictures show what there is."""

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

import maskstream
from maskstream import load_config
from maskstream.cli.main import COMMANDS, build_parser
from maskstream.config.loading import Layer
from tests.conftest import ROOT
from tests.test_architecture import LAYERS

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "weights" / "MODEL_CARD.md", *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
SHELL = {"&", "&&", "|", ">", "<", ";"}


@lru_cache
def anchors(page: Path) -> set[str]:
    """Return the fragments of a page's headings, as GitHub and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in headings]
    names = [re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in plain]
    return set(names)


def broken(page: Path) -> Iterator[str]:
    """Yield the links of a page that lead nowhere; no network is asked."""
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"\w+:", link):
            continue
        name, _, fragment = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (fragment and (target.suffix != ".md" or fragment not in anchors(target))):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    page, other = tmp_path / "a.md", tmp_path / "b.md"
    other.write_text("# One `heading`: it\n```\n# no heading\n```\n")
    page.write_text("[a](b.md) [b](b.md#one-heading-it) [c](c.md) [d](b.md#no-heading) [e](#x) [f](https://x.y)\n# X\n")
    assert list(broken(page)) == ["c.md", "b.md#no-heading"]


def test_no_heading_occurs_twice_on_a_page() -> None:
    linked = {link.partition("#")[2] for page in PAGES for link in LINK.findall(page.read_text()) if "#" in link}
    for page in PAGES:
        counts = Counter(re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE))
        twice = {heading.lower().replace(" ", "-") for heading, count in counts.items() if count > 1}
        assert twice & linked == set(), page


def test_every_page_is_in_the_site() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = set(re.findall(r"[\w/-]+\.md", str(nav)))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert named == pages | {"CONTRIBUTING.md", "weights/MODEL_CARD.md"}


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the command lines of the program that a page shows, as words from the subcommand on."""
    lines = re.findall(r"^(?: {4,}|(?=maskstream |python ))((?:.*\\\n)*.*)", page.read_text(), re.MULTILINE)
    quoted = re.findall(r"`((?:maskstream|python tools/|run_stream.py) [^`]*)`", page.read_text())
    for line in [*lines, *quoted]:
        found = re.search(r"(?:^|[|;(] *)(?:python )?(?:maskstream|(?:tools/|run_stream)[\w/]*\.py) .*", line, re.DOTALL)
        if found is None or "..." in found[0] or "COMMAND" in found[0]:
            continue
        words = shlex.split(re.sub(r"^[|;(] *", "", found[0]).replace("\\\n", ""), comments=True)
        words = words[1:] if words[0] == "python" else words
        end = next((place for place, word in enumerate(words) if word in SHELL), len(words))
        name = Path(words[0]).stem.replace("_", "-")
        command = words[1:end] if name == "maskstream" else ["run" if name == "run-stream" else name, *words[1:end]]
        is_mention = line in quoted and len(command) == 2 and command[1].startswith("--")  # of an option, without its value
        if command and not is_mention and (command[0] in COMMANDS or command[0].startswith("-")):
            yield command


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page))], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_have_options_and_settings_that_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser(filled=COMMANDS)
    for command in commands(page):
        if {"--help", "--version"} & set(command):
            continue
        try:
            arguments = parser.parse_args(command)
        except SystemExit:
            pytest.fail(f"{command}: {capsys.readouterr().err}")
        if command[0] == "run":
            load_config(layers=map(Layer.of_assignment, arguments.set))


def test_commands_are_found(tmp_path: Path) -> None:
    page = tmp_path / "a.md"
    page.write_text(
        "Run `maskstream run --source 0` or\n\n    ffmpeg -i a - | maskstream run --source - --jsonl -   # a pipe\n"
        "    python tools/train_detector.py --images a \\\n        --out b\n    run_stream.py ... --x\n"
    )
    assert list(commands(page)) == [
        ["run", "--source", "-", "--jsonl", "-"],
        ["train-detector", "--images", "a", "--out", "b"],
        ["run", "--source", "0"],
    ]


def test_the_picture_of_the_rooms_shows_the_rooms() -> None:
    shown = re.findall(r'class="name">(\w+)<', (ROOT / "docs" / "images" / "rooms.svg").read_text())
    rooms = [sorted(layer) for layer in LAYERS if layer != {"__main__"}]
    rows, start = [], 0
    for layer in rooms:
        rows.append(sorted(shown[start : start + len(layer)]))
        start += len(layer)
    assert rows == rooms
    assert start == len(shown)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`((?:[a-z0-9_]+/)+[a-z0-9_]+\.py)`", page.read_text())
    assert [name for name in named if not any((ROOT / place / name).exists() for place in ("", "maskstream"))] == []


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text()
    shown = set(re.findall(r"^::: maskstream\.(\w+)", page, re.MULTILINE))
    shown |= set(re.findall(r"\w+", " ".join(re.findall(r"members: \[(.*)\]", page))))
    shown |= {name for name in maskstream.__all__ if getattr(getattr(maskstream, name), "__module__", "") == "maskstream.errors"}
    assert "errors" in shown
    assert set(maskstream.__all__) - {"__version__"} <= shown


OF_OTHER_PROGRAMS = {
    "ImportError: libGL.so.1: cannot open shared object file",
    "Permission denied",
    "pip install .",
    "requires a different Python",
}


def test_symptoms_are_messages_of_the_program() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    symptoms = re.findall(r"\*\*Symptom\*\*: (.*?)\n\*\*Cause", page, re.DOTALL)
    quoted = {text for symptom in symptoms for text in re.findall(r"`([^`]+)`", symptom) if " " in text}
    source = "\n".join(path.read_text() for path in (ROOT / "maskstream").rglob("*.py"))
    assert len(symptoms) >= 20
    assert [text for text in sorted(quoted - OF_OTHER_PROGRAMS) if text not in source] == []
