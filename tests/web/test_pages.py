"""The files of the pages: languages, colours, and what the content security policy and the rules for data demand of them."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, get_args

import pytest

from maskstream.config.values import Blur
from maskstream.events.record_types import Cause
from maskstream.fleet.status import NodeState
from maskstream.store.roles import Role
from maskstream.stream.states import SourceState
from maskstream.types import Label
from maskstream.web.routes import ROUTES
from maskstream.web.static_files import static_files
from tests.conftest import ROOT

STATIC = ROOT / "maskstream" / "web" / "static"
MODULES = sorted(STATIC.rglob("*.js"))
LANGUAGES = sorted(json.loads((STATIC / "i18n" / "languages.json").read_text()))
PLURAL = re.compile(r"\.(one|other)$")
LITERAL = re.compile(r"""(["'`])((?:[a-z][\w-]*\.)*[a-z][\w-]*(?:\.\$\{[^}]*\})?)\1""")


@cache
def texts(language: str) -> dict[str, str]:
    found: dict[str, str] = json.loads((STATIC / "i18n" / f"{language}.json").read_text())
    return found


@cache
def literals() -> frozenset[str]:
    """Return the texts of the modules that look like keys; a computed end is an asterisk: `state.*`."""
    return frozenset(re.sub(r"\$\{.*", "*", found[2]) for path in MODULES for found in LITERAL.finditer(path.read_text()))


def called() -> Iterator[str]:
    """Yield the keys that are given to `t` and `tn`."""
    for path in MODULES:
        for found in re.finditer(r'\b(tn?)\(\s*"([^"]+)"', path.read_text()):
            yield from [found[2]] if found[1] == "t" else [f"{found[2]}.one", f"{found[2]}.other"]


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"(?<!\$)\{(\w+)\}", text))


def test_languages_are_those_of_the_files() -> None:
    assert LANGUAGES == ["de", "en"]
    assert {path.stem for path in (STATIC / "i18n").iterdir()} == {*LANGUAGES, "languages"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_the_keys_of_english(language: str) -> None:
    assert list(texts(language)) == list(texts("en"))
    assert [key for key, text in texts(language).items() if not text.strip()] == []
    assert [key for key, text in texts(language).items() if placeholders(text) != placeholders(texts("en")[key])] == []


def test_each_key_of_the_modules_exists() -> None:
    keys = texts("en")
    assert sorted(key for key in called() if key not in keys) == []
    first_words = {key.partition(".")[0] for key in keys if "." in key}
    likely = {literal for literal in literals() if literal.partition(".")[0] in first_words and "." in literal}
    known = set(keys) | {PLURAL.sub("", key) for key in keys}
    wrong = {literal for literal in likely - known if not literal.endswith(".*") or not starts_a_key(literal)}
    assert wrong <= {"audit.*", "form.elements"}


def starts_a_key(literal: str) -> bool:
    return any(key.startswith(literal.removesuffix("*")) for key in texts("en"))


def test_each_key_is_used() -> None:
    used = literals() | {"drop.*", "end.*", "stage.*"}  # causeText() puts them together
    beginnings = tuple(literal.removesuffix("*") for literal in used if literal.endswith(".*"))
    unused = [key for key in texts("en") if not {key, PLURAL.sub("", key)} & used and not key.startswith(beginnings)]
    assert unused == []


def audited() -> set[str]:
    """Return the actions that the program writes to the audit."""
    call = re.compile(r'\baudit(?:ed\(|\.add[(,])[^"\n]*"([a-z][\w.]*)"')
    sources = [path.read_text() for folder in ("cli", "web") for path in (ROOT / "maskstream" / folder).glob("*.py")]
    return {found for source in sources for found in call.findall(source)} | {route.audit for route in ROUTES if route.audit}


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("state", [*SourceState, "unplaced", "unknown"]),
        ("node", get_args(NodeState)),
        ("label", list(Label)),
        ("role", list(Role)),
        ("end", get_args(Cause)),
        ("privacy", get_args(Blur)),
        ("drop", ["overload", "stale", "decode"]),
        ("stage", ["capture", "detect", "align", "classify"]),
        ("audit", sorted(audited())),
    ],
)
def test_each_value_of_the_program_has_a_text(prefix: str, names: list[str]) -> None:
    assert [name for name in names if f"{prefix}.{name}" not in texts("en")] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(STATIC)))
def test_data_is_never_parsed_as_markup(path: Path) -> None:
    unsafe = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|setAttribute\(\"style"
    )
    assert re.findall(unsafe, path.read_text()) == []


def test_pages_have_no_inline_script_or_style() -> None:
    page = (STATIC / "index.html").read_text()
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page) == []
    assert [path.name for path in MODULES if re.search(r"\b(?:h|svg)\([^)]*\bstyle:", path.read_text())] == []


def test_no_other_host_is_named() -> None:
    """Besides the names of XML and examples of cameras."""
    hosts = {
        (path.name, host)
        for path in STATIC.rglob("*")
        if path.is_file()
        for host in re.findall(r"(?:https?|wss?):?//([\w.\-]+)", path.read_text())
    }
    assert {host for _, host in hosts} <= {"www.w3.org"}
    assert re.findall(r"@import|url\(", (STATIC / "app.css").read_text()) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(STATIC)))
def test_imports_exist(path: Path) -> None:
    for names, module in re.findall(r'^import (?:\{([^}]*)\} from )?"([^"]+)";', path.read_text(), re.MULTILINE):
        target = (path.parent / module).resolve()
        assert target.is_file(), module
        exported = set(re.findall(r"^export (?:async )?(?:function|class|const|let) (\w+)", target.read_text(), re.MULTILINE))
        assert {name.strip() for name in names.split(",") if name.strip()} <= exported, module


def test_modules_are_javascript(system_tool: Callable[[str], str]) -> None:
    parse = "for (const path of process.argv.slice(1)) new vm.SourceTextModule(fs.readFileSync(path, 'utf8'), {identifier: path})"
    command = [system_tool("node"), "--experimental-vm-modules", "-e", parse, *map(str, MODULES)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_the_server_has_all_files() -> None:
    paths = {path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()}
    assert set(static_files()) == paths


def colours(scheme: str) -> dict[str, tuple[float, ...]]:
    """Return the colours of the style sheet by name, for a light or dark scheme."""
    sheets = re.findall(r":root \{(.*?)\}", (STATIC / "app.css").read_text(), re.DOTALL)
    found: dict[str, tuple[float, ...]] = {}
    for sheet in sheets[:1] if scheme == "light" else sheets:
        for name, digits in re.findall(r"--([\w-]+): #([0-9a-f]{3,6});", sheet):
            full = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
            found[name] = tuple(int(full[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return found


def luminance(colour: tuple[float, ...]) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in colour]
    return sum(share * value for share, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: Any, other: Any) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


TEXT_ON = [
    *product(["ink", "muted", "accent", "good", "warn", "bad"], ["surface", "ground"]),
    *product(["ink", "muted"], ["sunken"]),
    ("on-accent", "accent"),
    ("accent", "accent-soft"),
    ("bad", "bad-soft"),
    *product(["on-label"], ["mask", "no-mask", "incorrect", "unknown"]),
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT_ON)
def test_text_can_be_read(scheme: str, text: str, ground: str) -> None:
    """The contrast that WCAG 2.2 demands at level AA."""
    found = colours(scheme)
    assert contrast(found[text], found[ground]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["surface", "ground"])
def test_the_focus_can_be_seen(scheme: str, ground: str) -> None:
    found = colours(scheme)
    assert contrast(found["focus"], found[ground]) >= 3
