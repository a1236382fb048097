"""What the documentation's site needs besides docs/: the README as its first page, and the files that pages link to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
_OUTSIDE = re.compile(r"\[(?P<text>[^\]]+)\]\((?P<up>(?:\.\./)+)(?P<file>[\w./-]+)\)")
#: Where such files lie on the site. As text, a browser shows them.
_FILES = "files"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every decision record into the navigation."""
    records = sorted(
        path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).glob("decisions/*.md")
    )
    config.nav = [*(config.nav or []), {"Decisions": records}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the README, and every file outside docs/ that a page links to."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # On the site a page of docs/ lies beside the first page; what else the README links to lies where pages find it.
    first = re.sub(r"\]\((?!docs/|\w+://|#)([^)]+)\)", r"](../\1)", readme).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=first))
    linked = {match["file"] for match in _OUTSIDE.finditer(first)}
    for page in files.documentation_pages():
        linked |= {match["file"] for match in _OUTSIDE.finditer(page.content_string)}
    for name in sorted(linked):
        if (ROOT / name).is_file():
            text = (ROOT / name).read_text(encoding="utf-8")
            files.append(File.generated(config, _place(name), content=text.replace("](docs/", "](../")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files outside docs/ lead to the site's copies; a folder is named and not linked."""
    back = "../" * page.file.src_uri.count("/")

    def led(match: re.Match[str]) -> str:
        name = match["file"]
        return f"[{match['text']}]({back}{_place(name)})" if (ROOT / name).is_file() else match["text"]

    return _OUTSIDE.sub(led, markdown)


def _place(name: str) -> str:
    """Return where a file lies on the site: Markdown becomes a page, anything else is text."""
    place = Path(_FILES, name)
    return place.as_posix() if place.suffix == ".md" else f"{place.as_posix()}.txt"
