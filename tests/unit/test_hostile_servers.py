"""Servers that change, lie, stall and send something else: a weight file gets its name when it is whole, or not."""

import gzip
import hashlib
import json
import os
import socket
import threading
import time

import comfy.model_management
import folder_paths
import hostile_files
import iqa_nets
import pytest
import torch

from iqa_adapter.iqa_models import download, known_files, loading, receiving, weights

FIRST, SECOND = (hostile_files.saved({"a": torch.full((300_000,), float(value))}) for value in (1, 2))


class Server:
    """Answers a connection with what ``say`` makes of the request's headers: pieces of bytes; a number is a pause."""

    def __init__(self):
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.requests = []
        self.over = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        with connection:
            text = b""
            while b"\r\n\r\n" not in text:
                if not (piece := connection.recv(4096)):
                    return
                text += piece
            headers = dict(line.split(": ", 1) for line in text.decode().split("\r\n")[1:] if ": " in line)
            self.requests.append(headers)
            try:
                for part in self.say(headers):
                    self.over.wait(part) if isinstance(part, float) else connection.sendall(part)
            except OSError:
                return


def body(content, *headers, status="200 OK", length=True):
    stated = [f"Content-Length: {len(content)}"] if length else []
    lines = [f"HTTP/1.1 {status}", "Connection: close", *headers, *stated, "", ""]
    return ["\r\n".join(lines).encode("latin1"), content]


@pytest.fixture()
def server():
    server = Server()
    yield server
    server.over.set()
    server.listening.close()


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """An empty ``models/iqa/``, and no caches."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(tmp_path / "iqa")], {".pth"}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path / "iqa"


def fetch(server, name="weights.pth", sha256=""):
    return download.download(weights.WeightFile(name, f"{server.address}/{name}", sha256))


def refused(server, message, **options):
    with pytest.raises(download.DownloadError, match=message) as refusal:
        fetch(server, **options)
    assert str(refusal.value).isprintable() and "get it by hand from http" in str(refusal.value)
    return str(refusal.value)


def ranged(content, etag, obeys=True):
    """Serves a file; ``obeys`` If-Range or not."""

    def say(headers):
        if "Range" in headers and (not obeys or headers.get("If-Range") == etag):
            start = int(headers["Range"][6:-1])
            where = f"Content-Range: bytes {start}-{len(content) - 1}/{len(content)}"
            return body(content[start:], f"ETag: {etag}", where, status="206 Partial Content")
        return body(content, f"ETag: {etag}")

    return say


def cut(server, content, *headers):
    """The first half comes."""
    server.say = lambda _: [body(content, *headers)[0], content[: len(content) // 2]]
    refused(server, "the connection broke; what has come is kept")


@pytest.mark.parametrize("obeys", [True, False], ids=["If-Range", "no If-Range"])
def test_hostile_server_whose_file_changes_between_halves(server, folder, obeys):
    cut(server, FIRST, 'ETag: "one"')
    server.say = ranged(SECOND, '"two"', obeys)
    assert fetch(server).read_bytes() == SECOND
    assert server.requests[1]["If-Range"] == '"one"'
    assert obeys or "Range" not in server.requests[-1]
    assert os.listdir(folder) == ["weights.pth"]


@pytest.mark.parametrize("header", ["Date: now", 'ETag: W/"weak"'], ids=["nothing", "weak"])
def test_hostile_server_that_cannot_tell_whether_its_file_is_the_same(server, folder, header):
    cut(server, FIRST, header)
    server.say = ranged(SECOND, '"two"')
    assert fetch(server).read_bytes() == SECOND
    assert all("Range" not in headers for headers in server.requests)


def test_a_file_that_is_the_same_goes_on_by_its_time(server, folder):
    cut(server, FIRST, "Last-Modified: Wed, 01 Jan 2025 00:00:00 GMT")
    server.say = ranged(FIRST, "Wed, 01 Jan 2025 00:00:00 GMT")
    server.say = lambda headers, say=server.say: [piece.replace(b"ETag", b"X-Other") for piece in say(headers)]
    assert fetch(server).read_bytes() == FIRST
    assert server.requests[-1]["If-Range"] == "Wed, 01 Jan 2025 00:00:00 GMT"
    assert int(server.requests[-1]["Range"][6:-1]) > 100_000


MATLAB = b"MATLAB 5.0 MAT-file".ljust(124, b" ") + b"\x00\x01IM"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pth", b"<!DOCTYPE html><p>Log in</p>", "what came .* is a web page"),
        ("weights.pth", b"", "what came .* is empty"),
        ("weights.pth", FIRST[:-100], "what came .* is truncated or damaged"),
        ("weights.pth", b"\x80\x02}.", "what came .* is a pickle, but none that torch wrote"),
        ("weights.pth", b"\x89PNG\r\n\x1a\n" + bytes(99), "what came .* is a picture"),
        ("weights.mat", b"<html>", "what came is truncated, damaged, or no MATLAB"),
        ("weights.mat", MATLAB + b"\x0e\0\0\0\xff\0\0\0", "what came is truncated, damaged, or no MATLAB"),
        ("weights.safetensors", FIRST, "what came is a zip archive"),
    ],
)
def test_hostile_server_that_sends_something_else(server, folder, name, content, message):
    """Of a length that it does not say."""
    server.say = lambda _: body(content, length=False)
    said = refused(server, message, name=name)
    assert "it was removed" in said and os.listdir(folder) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda: body(gzip.compress(FIRST), "Content-Encoding: gzip"), r"sends it packed \(gzip\)"),
        (lambda: body(FIRST, "Content-Length: many", length=False), "many bytes, which is no number|no sense"),
        (lambda: body(FIRST, "Content-Length: -5", length=False), "has -5 bytes, which is no number|makes no sense"),
        (lambda: body(FIRST, f"Content-Length: {'9' * 5000}", length=False), "no number|makes no sense"),
        (lambda: body(b"", "Content-Range: bytes 0-1/2", status="206 Partial Content"), "sends a part of the file"),
        (lambda: body(b"", status="204 No Content"), "answered 204"),
        (lambda: body(b"", status="404 \x1b[31m<b>gone</b>\x07"), r"answered 404 \\x1b\[31m"),
        (lambda: body(b"", "Location: file:///etc/passwd", status="302 Found"), "makes no sense"),
        (lambda: body(b"", "Location: http://[::1", status="302 Found"), "makes no sense"),
        (lambda: body(b"", "Location: http://\x00\x01/", status="302 Found"), "makes no sense|not answer"),
        (lambda: body(b"", "Location: /again", status="302 Found"), "from one address to the next without end"),
        (lambda: [b"\x00\xff\x00 nonsense\r\n\r\n"], "not answer|connection broke|makes no sense"),
        (lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"], "connection broke|not answer"),
        (lambda: [b""], "not answer|connection broke"),
    ],
)  # fmt: skip
def test_hostile_server_whose_answer_makes_no_sense(server, folder, answer, message):
    server.say = lambda _: answer()
    refused(server, message)
    assert not [name for name in os.listdir(folder) if not name.startswith("weights.pth.part")]


@pytest.mark.parametrize("kind", ["silent", "stalled", "dripping"])
def test_hostile_server_that_stalls_is_cancelled_within_a_second(server, folder, kind):
    drops = [piece for i in range(100_000) for piece in (FIRST[i : i + 1], 0.01)]
    pieces = {
        "silent": [60.0],
        "stalled": [*body(FIRST, 'ETag: "one"')[:1], FIRST[:1000], 60.0],
        "dripping": [body(FIRST, 'ETag: "one"')[0], *drops],
    }
    server.say = lambda _: pieces[kind]
    threading.Timer(1.0, comfy.model_management.interrupt_current_processing).start()
    began = time.monotonic()
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        fetch(server)
    assert time.monotonic() - began < 1 + 10 * receiving.LOOK  # generous: the machine may be busy
    assert "weights.pth" not in os.listdir(folder)


def test_two_downloads_of_one_file_are_one(server, folder):
    server.say = lambda _: [*body(FIRST)[:1], FIRST[:1000], 1.0, FIRST[1000:]]
    threads = [threading.Thread(target=fetch, args=(server,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (folder / "weights.pth").read_bytes() == FIRST and os.listdir(folder) == ["weights.pth"]
    assert len(server.requests) == 1


def test_parts_that_nobody_wants_are_removed(server, folder):
    folder.mkdir()
    old = time.time() - 2 * download.ABANDONED
    for name in ("other.pth.part", "other.pth.part.json", "mine.pth"):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (old, old))
    (folder / "new.pth.part").write_bytes(b"x")
    server.say = lambda _: body(FIRST)
    fetch(server)
    assert sorted(os.listdir(folder)) == ["mine.pth", "new.pth.part", "weights.pth"]


# known.json


def test_a_file_that_is_fetched_again_must_be_the_one_of_its_first_use(server, folder, caplog):
    server.say = lambda _: body(FIRST)
    path = fetch(server)
    known_files.note(weights.LoadedFile.at(path))
    entry = json.loads((folder / "known.json").read_text())["weights.pth"]
    assert entry["sha256"] == hashlib.sha256(FIRST).hexdigest() and entry["size"] == len(FIRST)
    path.unlink()
    server.say = lambda _: body(SECOND)
    refused(server, f"instead of {entry['sha256']}, as .*known.json has it from its first use, and was removed")
    assert os.listdir(folder) == ["known.json"]
    path.write_bytes(SECOND)  # by hand
    known_files.note(weights.LoadedFile.at(path))
    assert "another file than the one that was first used here" in caplog.text
    assert json.loads((folder / "known.json").read_text())["weights.pth"] == entry


def test_a_model_that_is_loaded_makes_its_file_known(folder, caplog):
    folder.mkdir()
    path = iqa_nets.write_cnniqa(folder)
    loading.load_iqa_model("cnniqa")
    assert known_files.known_digest(path.name) == hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "known.json").write_text('{"a": 1}')
    loading.load_iqa_model("cnniqa")
    assert "Digests of weight files are not compared" in caplog.text
    assert known_files.known_digest(path.name)  # from now on, again
