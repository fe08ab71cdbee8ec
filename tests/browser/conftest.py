"""One real ComfyUI server and one real browser for the tests of this folder.

Which ComfyUI it is, ``COMFYUI_PATH`` says. Pictures of what the tests saw are kept below ``.runtime/screenshots/``.
"""

import json
import os
import shutil

import pytest

import comfyui_client
import comfyui_runtime

playwright = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MINUTE = 60_000  # milliseconds
SETTINGS = {"Comfy.TutorialCompleted": True}  # else the list of templates covers the first page
READY = "window.app?.graph && app.extensionManager?.command && 'IQAScoreImages' in LiteGraph.registered_node_types"


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


@pytest.fixture()
def page(server, browser, request, screenshots):
    """The front end, ready.

    ``page.said`` collects what the console says from the beginning, ``page.errors`` what it complains about once the
    front end is ready. What it shows at the end is kept as a picture named like the test.
    """
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    page.said, page.errors, page.kept = [], [], False
    page.on("console", lambda message: page.said.append(message.text))
    page.goto(server.address, timeout=2 * MINUTE)
    page.wait_for_function(READY, timeout=2 * MINUTE)
    page.wait_for_load_state("networkidle")

    def note(message) -> None:
        own = message.location.get("url", "").startswith(server.address)  # not news and telemetry from elsewhere
        if message.type == "error" and own:
            page.errors.append(f"{message.location['url']}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    yield page
    if not page.kept:
        page.screenshot(path=screenshots / f"{request.node.name}.png")
    page.close()
