"""Drives a report in Chromium at three widths: `uvx --with playwright python` of this file and REPORT [FOLDER].

It needs a `chromium` on the path (Debian's package). With FOLDER it leaves screenshots there.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WIDTHS = {"desk": 1280, "tablet": 768, "phone": 375}


def check(page: Page) -> None:
    """The page fits, its links lead somewhere, its tables sort both ways, and it is light or dark as one likes."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it is wider than the screen"
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    column = "[...document.querySelectorAll('#worth ~ .wide tbody')][0].rows"
    cells = f"[...{column}].map(row => parseFloat(row.cells[3].textContent))"
    head = page.locator("#worth ~ .wide").first.locator("th button").nth(3)
    head.click()
    falling = page.evaluate(cells)
    head.click()
    assert falling == sorted(falling, reverse=True) and page.evaluate(cells) == sorted(falling)
    back = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(back)
    page.locator("#theme").click()
    dark = page.evaluate(back)
    page.locator("#theme").click()
    assert dark != before == page.evaluate(back)
    assert page.locator("figure svg title").count() > 10, "values where the pointer rests"


def main(report: Path, folder: Path | None) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, width in WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": 900})
            asked, wrong = [], []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            page.on("pageerror", lambda error, wrong=wrong: wrong.append(str(error)))
            page.goto(report.resolve().as_uri())
            check(page)
            assert wrong == [] and asked == [report.resolve().as_uri()], (wrong, asked)
            if folder:
                page.evaluate("scrollTo(0, 0)")
                page.screenshot(path=folder / f"report_{name}.png")
                page.emulate_media(color_scheme="dark")
                page.evaluate("delete document.documentElement.dataset.theme, document.location = '#users'")
                page.screenshot(path=folder / f"report_{name}_dark.png")
            print(f"{name}, {width}: fits, sorts, light and dark, asks for nothing")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
