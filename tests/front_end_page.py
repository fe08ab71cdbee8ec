"""ComfyUI's front end in a page of a browser, as the tests of tests/browser use it."""

import time

from iqa_adapter.documentation.front_end import MINUTE, READY

WINDOW = {"width": 1920, "height": 1080}
TIDY = """async () => {  // one empty workflow in the classic view; nodes keep no places and pictures of former numbers
  const { workflow, command, toast } = app.extensionManager;
  await command.execute("Comfy.NewBlankWorkflow");
  for (const open of [...workflow.openWorkflows])
    if (open.path !== workflow.activeWorkflow.path) await workflow.closeWorkflow(open);
  app.graph.clear();
  app.canvas.ds.offset = [0, 0];
  app.canvas.ds.scale = 1;
  toast.removeAll();
}"""
VIEW = """async modern => {
  const { setting } = app.extensionManager, name = "Comfy.VueNodes.Enabled";
  if (setting.get(name) !== modern) await setting.set(name, modern);
}"""
STILL = """async () => {  // until nodes and view have not moved for so many milliseconds
  const place = element => JSON.stringify(element.getBoundingClientRect());
  const seen = () => JSON.stringify([app.canvas.ds.scale, [...app.canvas.ds.offset],
    [...document.querySelectorAll("[data-node-id]")].map(place)]);
  let last, since;
  do {
    await new Promise(done => requestAnimationFrame(done));
    const now = seen();
    if (now !== last) [last, since] = [now, performance.now()];
  } while (performance.now() - since < 300);
}"""
SEARCHING = "document.activeElement?.matches('input, textarea')"


def opened(browser, server):
    """A page with the front end, ready.

    ``page.said`` collects what the console says from the beginning, ``page.errors`` what it complains about once the
    front end is ready, after ``page.loaded_in`` seconds.
    """
    began = time.monotonic()
    page = browser.new_page(viewport=WINDOW)
    page.said, page.errors = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.goto(server.address, timeout=2 * MINUTE)
    page.wait_for_function(READY, timeout=2 * MINUTE)
    page.loaded_in = time.monotonic() - began
    page.wait_for_load_state("networkidle")

    def note(message) -> None:
        url = message.location.get("url", "")
        own = url.startswith(server.address)  # not news and telemetry from elsewhere
        own = own and not url.startswith(f"{server.address}/templates/")  # ComfyUI's own, of which not all are there
        offline = message.text.startswith("Error fetching file size")  # of a model that it offers to download
        if message.type == "error" and own and not offline:
            page.errors.append(f"{url}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    return page


def open_search(page, words: str) -> None:
    """The box that adds nodes, with words in it."""
    page.evaluate("app.extensionManager.command.execute('Workspace.SearchBox.Toggle')")
    page.wait_for_function(SEARCHING)
    page.keyboard.insert_text(words)
