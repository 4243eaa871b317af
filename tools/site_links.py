"""Hook of mkdocs: pages may link to files of the checkout outside docs/, and the site then contains these files.

A link `../weights/MODEL_CARD.md` works in the checkout. In the site the file is a page or a download of its own, so that
`mkdocs build --strict` checks such links too.
"""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).resolve().parents[1]
LINK: Final = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)")
"""The path of a Markdown link, without its fragment."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that pages link to outside of docs/, and those that these link to in turn."""
    waiting = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    while waiting:
        page = waiting.pop()
        for target in sorted(_outside(page, Path(config.docs_dir))):
            name = target.relative_to(ROOT).as_posix()
            if target.is_file() and files.get_file_from_path(name) is None:
                files.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
                waiting += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, **_: object) -> str:
    """Rewrite links so that docs/ and the root of the checkout are one folder, as in the site."""
    if page.file.abs_src_path is None:
        return markdown
    source, docs = Path(page.file.abs_src_path), Path(config.docs_dir)

    def in_site(link: re.Match[str]) -> str:
        target = (source.parent / link[1]).resolve()
        if not target.is_relative_to(ROOT):
            return link[1]
        place = target.relative_to(docs if target.is_relative_to(docs) else ROOT)
        depth = len(Path(page.file.src_uri).parents) - 1
        return "../" * depth + place.as_posix()

    return LINK.sub(in_site, markdown)


def _outside(page: Path, docs: Path) -> set[Path]:
    targets = {(page.parent / link).resolve() for link in LINK.findall(page.read_text(encoding="utf-8"))}
    return {target for target in targets if target.is_relative_to(ROOT) and not target.is_relative_to(docs)}
