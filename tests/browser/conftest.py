"""One real ComfyUI server and one page of one real browser for the tests of this folder.

Which ComfyUI it is, ``COMFYUI_PATH`` says. Pictures of what the tests saw are kept below ``.runtime/screenshots/``.
"""

import json
import os
import shutil

import pytest
from front_end_page import TIDY, VIEW, opened

import comfyui_client
import comfyui_runtime

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SETTINGS = {"Comfy.TutorialCompleted": True}  # else the list of templates covers the first page


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    log = folder / "comfyui.log"
    (folder / "default").mkdir()
    (folder / "default" / "comfy.settings.json").write_text(json.dumps(SETTINGS))
    with comfyui_runtime.serve(log, "--output-directory", str(folder), "--user-directory", str(folder)) as address:
        client = comfyui_client.Client(address, log)
        client.upload(comfyui_runtime.find_comfyui() / "input" / "example.png")  # every ComfyUI comes with it
        yield client


@pytest.fixture(scope="session")
def screenshots(server):
    version = server.get("/system_stats")["system"]["comfyui_version"]
    folder = comfyui_runtime.BASE / "screenshots" / version
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        message = "needs a Chromium: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def kept(page, request, screenshots):
    """The page for one test; what it shows at the end is kept as a picture named like the test."""
    page.kept = False
    yield page
    if not page.kept:
        page.screenshot(path=screenshots / f"{request.node.name}.png")


@pytest.fixture(scope="module")
def only_page(browser, server):
    """Loading the front end takes longer than most tests, so that those of a file share it; then it draws no more."""
    page = opened(browser, server)
    yield page
    page.close()


@pytest.fixture()
def page(only_page, request, screenshots):
    """The page that tests share, with one empty workflow in the classic view."""
    only_page.keyboard.press("Escape")
    only_page.evaluate(VIEW, False)
    only_page.evaluate(TIDY)
    only_page.mouse.move(0, 0)
    only_page.errors.clear()
    yield from kept(only_page, request, screenshots)


@pytest.fixture()
def own_page(browser, server, request, screenshots):
    """A page for one test, loaded for it."""
    page = opened(browser, server)
    yield from kept(page, request, screenshots)
    page.close()
