"""Votes on pairs: blind, kept at once, gone on with, and the strengths that follow from them."""

import json
import threading
import urllib.error
import urllib.request
from collections import Counter

import numpy as np
import pytest
import voting

from iqa_adapter.evaluation import bradley_terry
from iqa_adapter.evaluation.cells import FACTS
from iqa_adapter.evaluation.contenders import NAMES
from iqa_adapter.evaluation.experiments.preference import Preference
from iqa_adapter.evaluation.votes import append_vote, read_lines, read_votes, votes_file
from iqa_adapter.evaluation.voting import server


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("votes")
    voting.ballot(folder)
    return folder


@pytest.fixture()
def ballot(work):
    (work / "votes.jsonl").unlink(missing_ok=True)
    return voting.ballot(work)


@pytest.fixture()
def address(ballot):
    page = server(ballot)
    threading.Thread(target=page.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{page.server_address[1]}"
    page.shutdown()
    page.server_close()


def post(address, vote, **headers):
    request = urllib.request.Request(f"{address}/vote", json.dumps(vote).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def get(address, path):
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as answer:
        return answer.read()


def test_strengths_are_found_again_in_votes_drawn_from_them():
    true, generator = np.array([1.2, 0.4, -1.6, 0.0]), np.random.default_rng(0)
    votes = []
    for _ in range(1500):
        i, j = generator.choice(4, 2, replace=False)
        wins = generator.random() < 1 / (1 + np.exp(true[j] - true[i]))
        votes.append((NAMES[i], NAMES[j], float(wins)))
    found = bradley_terry.strengths(votes, NAMES)
    for name, strength in zip(NAMES, true - true.mean(), strict=True):
        assert found[name].low - 0.1 < strength < found[name].high + 0.1 and found[name].error < 0.3
    assert found["high"].value > found["medium"].value > found["base"].value > found["low"].value


def test_a_thing_that_never_lost_has_a_finite_strength_and_ties_count_half():
    one_sided = bradley_terry.strengths([("high", "low", 1.0)] * 20, ("high", "low"))
    assert 1 < one_sided["high"].value < 10
    tied = bradley_terry.strengths([("high", "low", 0.5)] * 4, ("high", "low"))
    assert tied["high"].value == pytest.approx(0)
    assert bradley_terry.win_rates([("high", "low", 0.5), ("low", "high", 0.0)], ("high", "low"))[0, 1] == 0.75
    with pytest.raises(ValueError, match="There are no votes yet"):
        bradley_terry.strengths([], NAMES)


def test_voting_goes_on_where_it_was_and_ends(ballot, address, work):
    first = json.loads(get(address, "/next?Ann%20B"))
    assert first["all"] == 6 and first["done"] == 0 and first["prompt"].startswith("a ")
    state = post(address, {"voter": "Ann B", "left": first["left"], "right": first["right"], "choice": "left"})
    assert state["done"] == 1
    again = voting.ballot(work)  # as after a restart
    assert again.next("Ann B") == state and again.next("Bob")["done"] == 0
    while "left" in state:
        state = post(address, {"voter": "Ann B", "left": state["left"], "right": state["right"], "choice": "tie"})
    assert state == {"done": 6, "all": 6} and "6 votes; Bradley-Terry scores" in ballot.standing()


def test_pictures_and_places_do_not_tell_what_they_are(ballot, address):
    pictures = {digest: get(address, f"/picture/{digest}") for digest in ballot.pictures}
    assert len(pictures) == 4 and not any(FACTS.encode() in picture for picture in pictures.values())
    places = Counter(pair.left for voter in range(200) for pair in ballot.order(str(voter)))
    assert all(0.4 < count / 600 < 0.6 for count in places.values())
    assert ballot.order("Ann") == ballot.order("Ann") != ballot.order("Bob")


def test_what_is_no_vote_is_refused(ballot, address):
    pair = json.loads(get(address, "/next?x"))
    good = {"voter": "x", "left": pair["left"], "right": pair["right"], "choice": "right"}
    for wrong in ({"choice": "both"}, {"voter": " "}, {"left": "0" * 64}):
        with pytest.raises(urllib.error.HTTPError) as error:
            post(address, good | wrong)
        assert error.value.code == 400 and "error" in json.load(error.value)
    lengths = ({"Content-Length": length} for length in ("-1", "x", "999999", "9" * 5000))
    for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}, *lengths):
        with pytest.raises(urllib.error.HTTPError) as error:
            post(address, good, **headers)
        assert error.value.code == 403
    for path in ("/picture/../votes.jsonl", f"/picture/{'0' * 64}", "/etc/passwd"):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(address, path)
        assert error.value.code == 404
    assert read_votes(ballot.session, "score") == []


def test_votes_come_into_the_experiment_and_half_lines_do_not(ballot):
    file, session = votes_file(ballot.session), ballot.session
    for pair in ballot.pairs:
        append_vote(file, {"voter": "x", "left": pair.left, "right": pair.right, "choice": "left"})
    append_vote(file, {"voter": "x", "left": ballot.pairs[0].left, "right": ballot.pairs[0].right, "choice": "right"})
    file.write_text(file.read_text() + '\n{"voter": "y", "left"')
    append_vote(file, {"voter": "y", "left": "1", "right": "2", "choice": "tie"})
    assert len(read_lines(file)) == 8 and len(read_votes(session, "score")) == 6
    experiment = Preference(session, Preference.Options())
    session.score(experiment.wanted())
    result = experiment.result()
    assert "In 6 votes of people: high 66.7%" in result.sentence and result.numbers["people/medium"] == 1
    assert result.tables[-1].rows[0][0] == "high" and "(-" in result.tables[-1].rows[0][1]
