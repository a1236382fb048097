"""The pages in a real Airflow, seen and used through a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from runs import Run, runs
from services.browser import chromium
from shown import EVIL, NAME, WATCHED, write_past
from team import TEAM, team
from visits import SIZES, Visit, logged_in, serious
from watched import day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from local_airflow import LocalAirflow

#: The width of a sheet within its margins, at 96 pixels an inch.
A4_PIXELS = 718
WHY = "A new supplier: the parts are warmer."
WHAT = "it misses the red ones </script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def shown(airflow: LocalAirflow) -> Iterator[LocalAirflow]:
    write_past(airflow)
    for kind in ("training", "rollback"):
        airflow.wait_for_dag(f"{NAME}_{kind}")
    with team(airflow, like=f"{NAME}_training"):
        yield airflow


@pytest.fixture(scope="module")
def anna(shown: LocalAirflow, browser: Browser) -> Any:
    """The session of an administrator."""
    return logged_in(browser, shown, "anna")


@pytest.fixture(scope="module")
def retrained(shown: LocalAirflow, browser: Browser, anna: Any) -> dict[str, Any]:
    """The training run that anna started on the page of the pipeline, which followed it to its end."""
    visit = Visit(browser, shown, anna)
    frame = visit.models()
    row = frame.locator(f"[data-pipeline={NAME}]")
    row.get_by_text("version 2").wait_for()
    listed = frame.locator("[data-pipeline]").evaluate_all(
        "rows => rows.map(row => [row.innerText.includes('no champion yet'), row.dataset.pipeline])"
    )
    assert listed == sorted(listed), "those with a champion stand first"
    assert {*TEAM, NAME} <= {name for empty, name in listed if not empty}
    visit.picture("models")
    row.get_by_role("link", name=NAME).click()
    frame.locator("#champion", has_text="version 2").wait_for()
    frame.get_by_role("button", name="Retrain now").click()
    dialog = frame.get_by_role("dialog")
    dialog.get_by_role("button", name="Retrain").click()
    assert runs(shown, f"{NAME}_training") == [], "without a reason nothing happens"
    dialog.get_by_label("Reason").fill(WHY)
    dialog.get_by_label("As of").fill(day(WATCHED))
    visit.picture("retrain")
    dialog.get_by_role("button", name="Retrain").click()

    frame.locator("#said", has_text=re.compile("queued|running")).wait_for()
    frame.locator("#champion", has_text="version 3").wait_for(timeout=90_000)
    newest = frame.locator(".timeline li").first
    assert WHY in newest.inner_text()
    assert "anna" in newest.inner_text()
    visit.ends()
    [run] = runs(shown, f"{NAME}_training")
    return run


def test_a_person_retrains_for_a_reason(shown: LocalAirflow, retrained: dict[str, Any]) -> None:
    assert (retrained["state"], retrained["run_type"], retrained["triggering_user_name"]) == (
        "success",
        "manual",
        "anna",
    )
    assert (retrained["note"], retrained["conf"]) == (WHY, {"reason": WHY, "as_of": day(WATCHED)})
    scored = Run.triggered(shown, NAME, "scoring")
    assert scored.state == "success"


@pytest.mark.parametrize("kind", SIZES)
def test_the_pages_can_be_read_by_everyone(
    shown: LocalAirflow, browser: Browser, anna: Any, retrained: dict[str, Any], kind: str
) -> None:
    visit = Visit(browser, shown, anna, kind)
    frame = visit.models()
    frame.locator(f"[data-pipeline={NAME}]").scroll_into_view_if_needed()
    if kind == "narrow":
        visit.picture("models")
    frame.get_by_role("link", name=NAME, exact=True).click()
    frame.locator("#champion").wait_for()
    visit.picture("pipeline")
    for path in ("models", f"models/{NAME}", f"reports/{NAME}_training/{retrained['dag_run_id']}/evaluate/-1"):
        page = visit.own(path)
        # As it stands on a page whose successor is slow.
        page.locator("#loading").evaluate("one => { one.textContent = one.dataset.slow }")
        assert serious(page) == [], path
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= SIZES[kind][0], f"{path} is {wide} pixels wide"
    visit.ends()


def test_a_page_says_what_it_waits_for_until_an_answer_or_an_error_comes(
    shown: LocalAirflow, browser: Browser, anna: Any
) -> None:
    visit = Visit(browser, shown, anna)
    page, held = visit.page, visit.held("models")
    page.clock.install()
    frame = visit.models()
    frame.get_by_text("Loading Models…", exact=True).wait_for()
    page.clock.fast_forward(5000)
    frame.get_by_role("status").get_by_text("Still waiting for MLflow").wait_for()
    # An address whose answer is an error, as a browser that has waited for it is told.
    held.pop().continue_(url=f"{visit.url}/mlops/models/{NAME}?first=99")
    frame.get_by_role("alert").get_by_text("99").wait_for()
    assert frame.get_by_role("status").get_by_text("waiting").count() == 0
    visit.ends()


def test_a_task_shows_its_report(shown: LocalAirflow, browser: Browser, anna: Any, retrained: dict[str, Any]) -> None:
    visit, of = Visit(browser, shown, anna), (f"{NAME}_training", retrained["dag_run_id"])
    frame = visit.report(*of, "validate")
    frame.get_by_role("heading", name=f"{NAME}: validate").wait_for()
    frame.frame_locator("iframe[title=Report]").locator("table").first.wait_for()
    frame = visit.report(*of, "gate")
    frame.get_by_role("region", name="Gates").get_by_text("roc_auc").first.wait_for()
    frame = visit.report(*of, "evaluate")
    frame.get_by_role("region", name="Metrics of the candidates").wait_for()
    visit.picture("report")
    visit.ends()


def test_the_card_of_a_version_is_in_the_tab_of_its_publishing_and_on_the_pipelines_page(
    shown: LocalAirflow, browser: Browser, anna: Any, retrained: dict[str, Any]
) -> None:
    visit = Visit(browser, shown, anna)
    title = f"Model card: {NAME}, version 3"
    frame = visit.report(f"{NAME}_training", retrained["dag_run_id"], "publish")
    frame.frame_locator("iframe[title='Model card']").get_by_role("heading", name=title).wait_for()
    page = visit.own(f"models/{NAME}")
    page.get_by_role("link", name="Model card of version 3").click()
    page.get_by_role("heading", name=title).wait_for()
    assert page.get_by_text(EVIL).count() > 0
    visit.ends()


@pytest.mark.parametrize("kind", SIZES)
def test_cards_can_be_read_by_everyone_and_on_paper(
    shown: LocalAirflow, browser: Browser, anna: Any, retrained: dict[str, Any], kind: str
) -> None:
    visit = Visit(browser, shown, anna, kind)
    (width, height), page = SIZES[kind], visit.page
    page.emulate_media(color_scheme="dark" if kind == "dark" else "light")
    for name, picture, part in (("card", "model-card", "Features: 3"), ("comparison", "comparison", "Metrics")):
        html = visit.context.request.get(f"{visit.url}/mlops/models/{NAME}/versions/3/{name}").text()
        assert len(html.encode()) < 2_000_000
        # Alone, as the file that MLflow keeps: no policy of a server holds back what its names would run.
        page.set_content(html)
        assert serious(page) == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        if kind == "light":
            page.get_by_role("heading", name=part).evaluate("heading => heading.scrollIntoView()")
            visit.picture(picture)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": A4_PIXELS, "height": 1000})
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        cut_off = f"one => one.getBoundingClientRect().right > {A4_PIXELS + 1}"
        assert page.evaluate(f"[...document.querySelectorAll('table, svg, p')].filter({cut_off}).length") == 0, name
        paper = page.pdf(format="A4")
        assert paper.startswith(b"%PDF")
        assert len(paper) < 2_000_000
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": width, "height": height})
    visit.ends()


def test_drift_by_column_leads_to_the_report_of_a_window(shown: LocalAirflow, browser: Browser, anna: Any) -> None:
    visit = Visit(browser, shown, anna)
    drift = visit.own(f"models/{NAME}").get_by_role("region", name="Drift by column")
    assert drift.get_by_role("rowheader", name="alert(1)").count() == 1
    drift.get_by_role("link").last.click()
    visit.page.get_by_text("warmth").first.wait_for()
    visit.ends()


def test_who_may_only_read_is_offered_nothing(shown: LocalAirflow, browser: Browser) -> None:
    visit = Visit(browser, shown, logged_in(browser, shown, "ben"))
    page = visit.own(f"models/{NAME}")
    page.locator("#champion").wait_for()
    assert page.get_by_role("button", name=re.compile("Retrain|Roll back")).count() == 0
    visit.ends()


def test_a_champion_is_rolled_back_for_a_reason(
    shown: LocalAirflow, browser: Browser, anna: Any, retrained: dict[str, Any]
) -> None:
    visit = Visit(browser, shown, anna)
    page = visit.models()
    page.get_by_role("link", name=NAME, exact=True).click()
    page.locator("#champion", has_text="version 3").wait_for()
    entries = page.locator(".timeline li")
    before = entries.count()
    page.get_by_role("button", name="Roll back to…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Roll back").click()
    assert runs(shown, f"{NAME}_rollback") == [], "without a reason nothing happens"
    dialog.get_by_label("Reason").fill("It misses the red ones.")
    visit.picture("rollback")
    dialog.get_by_label("Reason").fill(WHAT)
    dialog.get_by_role("button", name="Roll back").click()

    page.locator("#champion", has_text="version 2").wait_for(timeout=90_000)
    assert entries.count() == before + 1
    newest = entries.first.inner_text()
    assert all(word in newest for word in (WHAT, "rolled back to", "anna"))
    visit.ends()
