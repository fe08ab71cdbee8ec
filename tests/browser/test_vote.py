"""The page of ``iqa.py vote`` in a browser."""

import threading

import voting

from iqa_adapter.evaluation.votes import read_lines, votes_file
from iqa_adapter.evaluation.voting import server


def test_voting_by_keyboard_and_mouse_and_going_on(browser, tmp_path):
    ballot = voting.ballot(tmp_path)
    served = server(ballot)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{served.server_address[1]}/"
    page, errors = browser.new_page(), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.fill("#voter", "Ann")
    page.keyboard.press("Enter")
    page.wait_for_selector("#left img[src]")
    seen = []
    for number, act in enumerate(("ArrowLeft", "ArrowRight", "ArrowDown", "click")):
        page.wait_for_function(f"document.getElementById('count').textContent === '{number} of 6'")
        seen.append([page.get_attribute(f"#{side} img", "src").rpartition("/")[2] for side in ("left", "right")])
        assert page.evaluate("document.querySelector('#left img').decode().then(() => true)")
        page.click("#right") if act == "click" else page.keyboard.press(act)
    page.wait_for_function("document.getElementById('count').textContent === '4 of 6'")
    page.reload()
    page.fill("#voter", "Ann")
    page.click("#who button")
    for number in (4, 5):
        page.wait_for_function(f"document.getElementById('count').textContent === '{number} of 6'")
        page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#end:visible")
    served.shutdown()
    served.server_close()
    votes = read_lines(votes_file(ballot.session))
    assert [vote["choice"] for vote in votes] == ["left", "right", "tie", "right", "left", "left"]
    assert [[vote["left"], vote["right"]] for vote in votes[:4]] == seen
    assert not errors and len({frozenset((vote["left"], vote["right"])) for vote in votes}) == 6
    page.close()
