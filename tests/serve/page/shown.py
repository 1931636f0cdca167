"""What a reader is shown on the page; apart from the tests, which are skipped where there is no browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def loaded(page: Page) -> None:
    """Wait for all that is known of the chosen image, before which no verdict is taken."""
    from playwright.sync_api import expect

    expect(page.locator("#latest")).not_to_be_empty()
