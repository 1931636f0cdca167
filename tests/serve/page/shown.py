"""What a reader is shown on the page; apart from the tests, which are skipped where there is no browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def loaded(page: Page) -> None:
    """Wait for all that is known of the chosen image, before which no verdict is taken."""
    from playwright.sync_api import expect

    expect(page.locator("#latest")).not_to_be_empty()


def drawn(page: Page) -> None:
    """Wait for all that the page asks of the chosen image and of the lines, before which none of them should go."""
    from playwright.sync_api import expect

    loaded(page)
    expect(page.locator("#normals img")).to_have_count(3)
    for picture in page.locator("#rows img, #layers img, #normals img").all():
        expect(picture).not_to_have_js_property("naturalWidth", 0)
