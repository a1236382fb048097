"""Visits of people to Airflow's pages, and the pictures that the documentation shows of them."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Page, Route

    from local_airflow import LocalAirflow

#: Where pictures for the docs go, when they are asked for; and how they are taken.
PICTURES = os.environ.get("MLOPS_PICTURES")
SIZES = {"light": (1440, 900), "dark": (1440, 900), "narrow": (390, 844)}


class Visit:
    """A logged-in visit, and what must not happen in it.

    :param session: of a user who is logged in already, from `logged_in`.
    """

    def __init__(self, browser: Browser, airflow: LocalAirflow, session: Any, kind: str = "light") -> None:
        width, height = SIZES[kind]
        self.url, self.kind = airflow.url, kind
        # What is dark is Airflow's own theme, whatever the browser prefers.
        self.context = browser.new_context(viewport={"width": width, "height": height}, storage_state=session)
        self.context.add_init_script(f"localStorage.setItem('theme', '{'dark' if kind == 'dark' else 'light'}')")
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.dialogs: list[str] = []
        self.foreign: list[str] = []
        self.wrong: list[str] = []
        self.page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self._requested(request.url))
        self.page.on(
            "console", lambda reported: self.wrong.append(reported.text) if "Security Policy" in reported.text else None
        )

    def _requested(self, url: str) -> None:
        if not url.startswith((self.url, "data:", "blob:")):
            self.foreign.append(url)

    def models(self) -> FrameLocator:
        """Open the page of all models by the navigation."""
        self.page.goto(self.url)
        self.page.get_by_role("link", name="Models").click()
        return self.page.frame_locator("iframe[title=Models]")

    def report(self, dag_id: str, run_id: str, task_id: str) -> FrameLocator:
        """Open the tab of a task instance."""
        self.page.goto(f"{self.url}/dags/{dag_id}/runs/{run_id}/tasks/{task_id}")
        self.page.get_by_role("link", name="Report", exact=True).click()
        return self.page.frame_locator("iframe[title=Report]")

    def own(self, path: str) -> Page:
        """Open one of our pages without Airflow's around it."""
        self.page.goto(f"{self.url}/mlops/{path}")
        return self.page

    def held(self, path: str) -> list[Route]:
        """Hold back every request of one of our pages, and return those that are held: a slow server."""
        found: list[Route] = []
        self.page.route(f"{self.url}/mlops/{path}", lambda route: found.append(route))
        return found

    def ends(self) -> None:
        """Nothing ran that should not, and nothing was asked of anybody else."""
        self.context.close()
        assert (self.dialogs, self.foreign, self.wrong) == ([], [], [])

    def picture(self, name: str) -> None:
        """Take a picture for the documentation, when pictures are asked for."""
        if not PICTURES:
            return
        from PIL import Image

        self.page.wait_for_timeout(500)
        # A page has few colours: in a palette of them the file has a quarter of the size.
        taken = Image.open(BytesIO(self.page.screenshot())).convert("RGB")
        file = Path(PICTURES) / f"{name}-{self.kind}.png"
        few = taken.quantize(64, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)


def logged_in(browser: Browser, airflow: LocalAirflow, name: str) -> Any:
    """Log in by Airflow's form, and return the session."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(airflow.url)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(name)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Models").wait_for()
    session = context.storage_state()
    context.close()
    return session


def serious(page: Page) -> list[Any]:
    """What axe finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
