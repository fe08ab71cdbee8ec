"""``python iqa.py vote``: a page on this computer where people say which of two pictures is better, without knowing
what made them."""

from __future__ import annotations

import io
import itertools
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from ..files import WrongFile, parse_json, shown
from .base import Embedded
from .bradley_terry import strengths
from .contenders import NAMES, contenders, first_score_adapter
from .plan import read_plan
from .session import Session
from .votes import CHOICES, Given, append_vote, read_lines, read_votes, votes_file

PAGE = Path(__file__).parent / "vote.html"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """Two pictures of the same prompt and seed.

    Attributes:
        left, right: digests.
        prompt: text.
    """

    left: str
    right: str
    prompt: str

    @property
    def key(self) -> frozenset[str]:
        return frozenset((self.left, self.right))


class Ballot:
    """The pairs of a plan, in an order and on sides of each voter's own, and the votes on them.

    Args:
        session: whose pictures are there.
        adapter: name of a score adapter; empty for the first.
    """

    def __init__(self, session: Session, adapter: str = ""):
        self.session = session
        self.adapter = first_score_adapter(session, adapter).name
        pictures = contenders(session, first_score_adapter(session, adapter))
        self.pairs = []
        for one, other in itertools.combinations(NAMES, 2):
            for left, right in zip(pictures[one], pictures[other], strict=True):
                text = session.prompts[left.prompt].text
                self.pairs.append(Pair(session.digest(left), session.digest(right), text))
        self.pictures = {digest for pair in self.pairs for digest in pair.key}

    def order(self, voter: str) -> list[Pair]:
        """All pairs as a voter sees them, the same at every visit; which picture is where says nothing."""
        chance = random.Random(f"{voter} {self.session.plan.digest}")
        turned = [Pair(p.right, p.left, p.prompt) if chance.random() < 0.5 else p for p in self.pairs]
        return chance.sample(turned, len(turned))

    def next(self, voter: str) -> dict:
        """The first pair that a voter has not judged yet, and how many are done."""
        votes = read_lines(votes_file(self.session))
        done = {frozenset((vote["left"], vote["right"])) for vote in votes if vote["voter"] == voter}
        left = [pair for pair in self.order(voter) if pair.key not in done]
        state = {"done": len(self.pairs) - len(left), "all": len(self.pairs)}
        return state | ({"left": left[0].left, "right": left[0].right, "prompt": left[0].prompt} if left else {})

    def vote(self, text: bytes) -> dict:
        """Keep a vote.

        Args:
            text: JSON, see :class:`.votes.Given`.

        Raises:
            ValueError: it is not about a pair of this plan, or has no voter or choice.
        """
        try:
            given = parse_json(text, Given, "the vote")
        except WrongFile as error:
            raise ValueError(f"A vote needs a voter and a choice, one of {', '.join(CHOICES)}.") from error
        if frozenset((given["left"], given["right"])) not in {each.key for each in self.pairs}:
            raise ValueError("This pair is not one of the plan's; load the page again.")
        append_vote(votes_file(self.session), given)
        return self.next(given["voter"])

    def standing(self) -> str:
        """Bradley-Terry scores of all votes, a line each."""
        votes = read_votes(self.session, self.adapter)
        if not votes:
            return "No votes yet."
        scores = strengths(votes, NAMES)
        lines = [f"{name:<8}{scores[name].shown('+.2f')}" for name in sorted(NAMES, key=lambda n: -scores[n].value)]
        return "\n".join([f"{len(votes)} votes; Bradley-Terry scores, intervals of 95 %:", *lines])


def server(ballot: Ballot, port: int = 0) -> ThreadingHTTPServer:
    """The page's server, on this computer only.

    Args:
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """

    class Handler(_Handler):
        pass

    Handler.ballot = ballot
    try:
        return ThreadingHTTPServer((LOOPBACK, port), Handler)
    except OSError as error:
        raise OSError(f"Port {port} cannot be used ({error.strerror}); choose another with --port.") from error


def vote(file: Path, work: Path, adapter: str, port: int, embedded: Embedded, say: Callable[[str], None]) -> None:
    """Draw what is missing of a plan's contenders, then serve the page until Ctrl-C; ends with the standing."""
    session = Session(read_plan(file), file.parent, work, embedded)
    session.draw([cell for of in contenders(session, first_score_adapter(session, adapter)).values() for cell in of])
    ballot = Ballot(session, adapter)
    with server(ballot, port) as page:
        say(f"Vote at http://{LOOPBACK}:{page.server_address[1]}/ (left and right arrow, down for a tie; Ctrl-C ends).")
        say(f"Votes: {shown(votes_file(session))}")
        try:
            page.serve_forever()
        except KeyboardInterrupt:
            say("\n" + ballot.standing())


class _Handler(BaseHTTPRequestHandler):
    """``/`` the page, ``/picture/DIGEST``, ``/next?VOTER``, and votes that are posted to ``/vote``."""

    ballot: Ballot

    def do_GET(self) -> None:
        path, _, voter = self.path.partition("?")
        kind, _, digest = path[1:].partition("/")
        if path == "/":
            self._answer(PAGE.read_bytes(), "text/html; charset=utf-8")
        elif kind == "picture" and digest in self.ballot.pictures:  # nothing else is read from the disk
            self._answer(_without_facts(self.ballot.session, digest), "image/png")
        elif path == "/next":
            self._answer(json.dumps(self.ballot.next(unquote(voter))).encode(), "application/json")
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != "/vote" or not self._is_own() or not re.fullmatch("[0-9]{1,5}", length):
            self.send_error(HTTPStatus.FORBIDDEN)
            return
        try:
            answer, status = self.ballot.vote(self.rfile.read(int(length))), HTTPStatus.OK
        except (ValueError, OSError) as error:
            answer, status = {"error": str(error)}, HTTPStatus.BAD_REQUEST
        self._answer(json.dumps(answer).encode(), "application/json", status)

    def _is_own(self) -> bool:
        """Whether the page itself asks, and not another one that is open in the same browser."""
        own = f"{LOOPBACK}:{self.server.server_address[1]}"
        return self.headers.get("Host") == own and self.headers.get("Origin") in (None, f"http://{own}")

    def _answer(self, content: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments) -> None:
        """Nothing: the terminal is for the address and the standing."""


def _without_facts(session: Session, digest: str) -> bytes:
    """A picture as PNG without the text that says what made it."""
    file = io.BytesIO()
    with Image.open(session.store.path(digest), formats=["PNG"]) as image:
        Image.frombytes(image.mode, image.size, image.tobytes()).save(file, "PNG")
    return file.getvalue()
