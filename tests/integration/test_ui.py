"""The pages in a real Airflow, seen and used through a real browser."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from runs import Run, settled
from services.browser import chromium
from shown import DAYS, NAME
from watched import day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, FrameLocator, Page

    from local_airflow import LocalAirflow

REASON = "it misses the red ones </script><script>alert(1)</script>"
#: Where pictures for the docs go, when they are asked for; and how they are taken.
PICTURES = os.environ.get("MLOPS_PICTURES")
SIZES = {"light": (1440, 900), "dark": (1440, 900), "narrow": (390, 844)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def trained(airflow: LocalAirflow, browser: Browser) -> LocalAirflow:
    """Two champions, and what was scored and watched of them."""
    assert [Run.of(airflow, NAME, day(number)).state for number in DAYS] == ["success"] * 2
    settled(airflow, NAME)
    return airflow


class Visit:
    """A logged-in visit, and what must not happen in it."""

    def __init__(self, browser: Browser, airflow: LocalAirflow, kind: str = "light") -> None:
        width, height = SIZES[kind]
        theme = "dark" if kind == "dark" else "light"
        self.url = airflow.url
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.dialogs: list[str] = []
        self.foreign: list[str] = []
        self.wrong: list[str] = []
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("console", lambda told: self.wrong.append(told.text) if "Security Policy" in told.text else None)
        self.page.goto(airflow.url)
        self.page.get_by_role("link", name="Models").wait_for()

    def _asked(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(url)

    def models(self) -> FrameLocator:
        """Open the page of all models by the navigation."""
        self.page.get_by_role("link", name="Models").click()
        return self.page.frame_locator("iframe[title=Models]")

    def report(self, kind: str, run_id: str, task_id: str) -> FrameLocator:
        """Open the tab of a task instance."""
        self.page.goto(f"{self.url}/dags/{NAME}_{kind}/runs/{run_id}/tasks/{task_id}")
        self.page.get_by_role("link", name="Report", exact=True).click()
        return self.page.frame_locator("iframe[title=Report]")

    def ends(self) -> None:
        """Nothing ran that should not, and nothing was asked of anybody else."""
        self.context.close()
        assert (self.dialogs, self.foreign, self.wrong) == ([], [], [])

    def picture(self, name: str) -> None:
        if PICTURES:
            self.page.wait_for_timeout(500)
            self.page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))


def serious(page: Page) -> list[Any]:
    """What axe finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("kind", SIZES)
def test_the_pages_can_be_read_by_everyone(trained: LocalAirflow, browser: Browser, kind: str) -> None:
    visit = Visit(browser, trained, kind)
    frame = visit.models()
    frame.locator(f"[data-pipeline={NAME}]").scroll_into_view_if_needed()
    if kind == "narrow":
        visit.picture("models-narrow")
    frame.get_by_role("link", name=NAME, exact=True).click()
    frame.locator("#champion").wait_for()
    if kind != "narrow":
        visit.picture(f"pipeline-{kind}")
    pages = [f"models/{NAME}", "models", f"reports/{NAME}_training/for-{day(DAYS[-1])}/evaluate/-1"]
    for page in pages:
        visit.page.goto(f"{visit.url}/mlops/{page}")
        assert serious(visit.page) == [], page
        wide = visit.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[kind][0], f"{page} is {wide} pixels wide"
    visit.ends()


def test_the_champion_is_read_in_airflow_and_rolled_back_there(trained: LocalAirflow, browser: Browser) -> None:
    visit = Visit(browser, trained)
    frame = visit.models()
    row = frame.locator(f"[data-pipeline={NAME}]")
    row.get_by_text("version 2").wait_for()
    row.get_by_role("link", name=NAME).click()
    frame.locator("#champion", has_text="version 2").wait_for()
    entries = frame.locator(".timeline li")
    assert entries.count() == 2
    frame.get_by_role("button", name="Roll back to…").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_role("button", name="Roll back").click()
    assert entries.count() == 2, "without a reason nothing happens"
    dialog.get_by_label("Reason").fill("It misses the red ones.")
    visit.picture("rollback-light")
    dialog.get_by_label("Reason").fill(REASON)
    dialog.get_by_role("button", name="Roll back").click()

    frame.locator("#champion", has_text="version 1").wait_for(timeout=90_000)
    assert entries.count() == 3
    newest = entries.first.inner_text()
    assert REASON in newest
    assert "rolled back to" in newest
    visit.ends()


def test_a_task_shows_its_report(trained: LocalAirflow, browser: Browser) -> None:
    visit = Visit(browser, trained)
    run_id = f"for-{day(DAYS[-1])}"
    frame = visit.report("training", run_id, "validate")
    frame.get_by_role("heading", name=f"Validate of {NAME}").wait_for()
    frame.frame_locator("iframe[title=Report]").locator("table").first.wait_for()
    visit.picture("report-light")
    frame = visit.report("training", run_id, "evaluate")
    frame.get_by_role("region", name="Metrics of the candidates").wait_for()
    frame = visit.report("training", run_id, "gate")
    frame.get_by_role("region", name="Gates").get_by_text("roc_auc").first.wait_for()
    visit.ends()


def test_drift_by_column_leads_to_the_report_of_a_window(trained: LocalAirflow, browser: Browser) -> None:
    visit = Visit(browser, trained)
    visit.page.goto(f"{visit.url}/mlops/models/{NAME}")
    drift = visit.page.get_by_role("region", name="Drift by column")
    assert drift.get_by_role("rowheader", name="alert(1)").count() == 1
    drift.get_by_role("link").last.click()
    visit.page.get_by_text("warmth").first.wait_for()
    visit.ends()
