"""The hook of the site: pages may link to files outside docs/, and the site has these files."""

import pytest
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tests.conftest import ROOT
from tools.site_links import on_files, on_page_markdown


@pytest.fixture
def config() -> MkDocsConfig:
    config = MkDocsConfig()
    folders = {"docs_dir": str(ROOT / "docs"), "site_dir": str(ROOT / "out" / "site")}
    config.load_dict({"site_name": "test", "use_directory_urls": False, "plugins": [], **folders})
    assert config.validate() == ([], [])
    return config


def file(name: str, config: MkDocsConfig) -> File:
    folder = "docs" if (ROOT / "docs" / name).exists() else ""
    return File(name, str(ROOT / folder), config.site_dir, use_directory_urls=False)


def test_files_outside_docs_come_along_with_what_they_link_to(config: MkDocsConfig) -> None:
    files = on_files(Files([file("index.md", config)]), config)
    names = {each.src_uri for each in files}
    assert {"index.md", "weights/MODEL_CARD.md", "CONTRIBUTING.md", "assets/demo_frame.jpg"} <= names
    assert not [name for name in names if name.startswith("docs/")]


@pytest.mark.parametrize(
    ("page", "markdown", "expected"),
    [
        ("index.md", "[a](../weights/MODEL_CARD.md#data)", "[a](weights/MODEL_CARD.md#data)"),
        ("index.md", "[a](events.md) [b](#x) [c](https://a.b/../c)", "[a](events.md) [b](#x) [c](https://a.b/../c)"),
        ("weights/MODEL_CARD.md", "[a](../docs/events.md#zones)", "[a](../events.md#zones)"),
        ("CONTRIBUTING.md", "[a](docs/api.md)", "[a](api.md)"),
    ],
)
def test_links_are_those_of_the_site(page: str, markdown: str, expected: str, config: MkDocsConfig) -> None:
    assert on_page_markdown(markdown, Page(None, file(page, config), config), config) == expected
