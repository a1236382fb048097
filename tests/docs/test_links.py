from __future__ import annotations

import re
from pathlib import Path

from write_docs import ROOT

_LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_FENCE = re.compile(r"```.*?```", re.DOTALL)


def anchors(text: str) -> set[str]:
    """The names that a page's headings get, as Git hosts make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere(documents: dict[str, str]) -> None:
    dead = []
    for name, text in documents.items():
        for link in _LINK.findall(_FENCE.sub("", text)):
            if "://" in link:
                continue
            place, _, anchor = link.partition("#")
            target = (ROOT / name).parent / place if place else ROOT / name
            if not target.exists():
                dead.append(f"{name}: {link}")
            elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
                dead.append(f"{name}: {link} has no such heading")
    assert dead == []


def test_every_page_can_be_reached_from_the_readme(documents: dict[str, str]) -> None:
    reached, open_pages = set(), {"README.md"}
    while open_pages:
        page = open_pages.pop()
        reached.add(page)
        for link in _LINK.findall(documents[page]):
            place = link.partition("#")[0]
            if "://" not in link and place.endswith(".md"):
                target = ((ROOT / page).parent / place).resolve().relative_to(ROOT).as_posix()
                open_pages |= {target} & (set(documents) - reached)
    assert reached == set(documents)


def test_every_decision_is_numbered_and_says_why(documents: dict[str, str]) -> None:
    decisions = sorted(name for name in documents if name.startswith("docs/decisions/"))
    numbers = [int(Path(name).name[:4]) for name in decisions]
    assert numbers == sorted(set(numbers))
    for name in decisions:
        assert documents[name].startswith(f"# {Path(name).name[:4]} ")
        for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert part in documents[name], name
