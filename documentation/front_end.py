"""ComfyUI's front end in a browser. Needs Playwright and a Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

MINUTE = 60_000  # milliseconds
READY = """window.app?.graph && app.extensionManager?.command && "IQAScoreImages" in LiteGraph.registered_node_types
  && !document.getElementById("splash-loader")"""  # which covers the page of newer front ends


@contextmanager
def front_end(address: str, width: int, height: int, scale: float = 1) -> Iterator:
    """A page with the front end of the server at an address, ready.

    Args:
        width, height: of the window, in pixels.
        scale: pixels of a screenshot for each of them.

    Raises:
        ValueError: there is no Playwright, or no browser.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise ValueError(
            "Workflows and nodes are shown in a browser: pip install playwright, and a Chromium."
        ) from error
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise ValueError("Workflows and nodes need a browser; there is no Chromium: apt-get install chromium.")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        page.goto(address, timeout=2 * MINUTE)
        page.wait_for_function(READY, timeout=2 * MINUTE)
        page.wait_for_load_state("networkidle")
        yield page
        browser.close()
