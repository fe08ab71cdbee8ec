"""A small client of ComfyUI's HTTP API, for the demo and the tests."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import requests

CLIENT = "iqa-adapter"  # without a name, 0.3.75 leaves out what nodes show that need not run again


@dataclass(frozen=True)
class Client:
    """Talks to the server at ``address``; ``log`` is its output."""

    address: str
    log: Path

    def get(self, path: str):
        with urllib.request.urlopen(self.address + path, timeout=60) as response:
            body = response.read()
        return json.loads(body) if response.headers.get_content_type() == "application/json" else body

    def picture(self, shown: dict) -> bytes:
        """The file of a picture that a node shows, by its entry among the node's outputs."""
        return self.get("/view?" + urllib.parse.urlencode(shown))

    def upload(self, picture: Path) -> str:
        """Put a picture into the server's input folder; its name there, for LoadImage."""
        with picture.open("rb") as file:
            files, data = {"image": (picture.name, file)}, {"overwrite": "true"}
            answer = requests.post(f"{self.address}/upload/image", files=files, data=data, timeout=60)
        answer.raise_for_status()
        return answer.json()["name"]

    def queue(self, graph: dict) -> str:
        """Post a graph in API format; the id of its run.

        Raises:
            GraphRefused: validation failed; the message holds ComfyUI's reasons.
        """
        body = {"prompt": graph, "client_id": CLIENT}
        request = urllib.request.Request(self.address + "/prompt", json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["prompt_id"]
        except urllib.error.HTTPError as error:
            raise GraphRefused(error.read().decode()) from error

    def interrupt(self) -> None:
        """Cancel the graph that runs, if one does."""
        urllib.request.urlopen(urllib.request.Request(f"{self.address}/interrupt", b"{}"), timeout=60).close()

    def run(self, graph: dict, timeout: float = 300) -> dict:
        """Run a graph to its end; the history entry with its outputs and status."""
        prompt_id = self.queue(graph)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history and history[prompt_id]["status"]["completed"] is not None:
                return history[prompt_id]
            time.sleep(0.2)
        raise TimeoutError(f"no result after {timeout} s; log:\n" + self.log.read_text()[-3000:])

    def outputs_of(self, graph: dict, timeout: float = 300) -> dict:
        """Run a graph; its outputs by node.

        Raises:
            RuntimeError: a node failed; the message is the node's.
        """
        entry = self.run(graph, timeout)
        if entry["status"]["status_str"] != "success":
            raise RuntimeError(dict(entry["status"]["messages"])["execution_error"]["exception_message"])
        return entry["outputs"]

    def error_of(self, graph: dict) -> str:
        """Message with which a node of the graph fails."""
        messages = dict(self.run(graph)["status"]["messages"])
        return messages["execution_error"]["exception_message"]


class GraphRefused(Exception):
    """The server did not accept a graph."""
