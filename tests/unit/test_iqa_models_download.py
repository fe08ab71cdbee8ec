"""Weight files arrive whole or not at all, from a server on the loopback interface that behaves in several ways."""

import hashlib
import http.server
import json
import socket
import threading

import comfy.model_management
import comfy.utils
import folder_paths
import hostile_files
import iqa_nets
import pytest
import torch
from full_disk import full_disk

from iqa_adapter.iqa_models import download, weights
from iqa_adapter.nodes import loaders as nodes

CONTENT = hostile_files.saved({"a": torch.rand(1_250_000, generator=torch.Generator().manual_seed(1))})


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves ``server.content``; the switches of ``server`` make it a bad server."""

    def do_GET(self):
        self.server.ranges.append(self.headers["Range"])
        if self.path == "/other.pth":
            return self.send_error(404)
        content, start = self.server.content, 0
        if self.headers["Range"] and self.server.knows_range and self.headers["If-Range"] == self.server.etag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", self.server.announced or len(content) - start)
        self.end_headers()
        self.wfile.write(content[start : self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture()
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.ranges, server.knows_range, server.cut, server.announced = CONTENT, [], True, None, None
    server.etag = '"one"'
    server.handle_error = lambda *_: None  # the client went away
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """An empty ``models/iqa/``, and no caches."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "iqa", ([str(tmp_path / "iqa")], {".pth"}))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return tmp_path / "iqa"


def file_at(server, name="weights.pth", sha256=""):
    return weights.WeightFile("weights.pth", f"{server.address}/{name}", sha256)


def test_whole_file_with_progress(server, folder, monkeypatch):
    steps, told, update = [], [], comfy.utils.ProgressBar.update_absolute
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: steps.append((value, total)))
    # of what it is told, the bar of ComfyUI 0.33 passes on only some
    monkeypatch.setattr(comfy.utils.ProgressBar, "update_absolute", lambda *given: told.append(given) or update(*given))
    path = download.download(file_at(server, sha256=hashlib.sha256(CONTENT).hexdigest()))
    assert path == folder / "weights.pth" and path.read_bytes() == CONTENT
    assert [entry.name for entry in folder.iterdir()] == ["weights.pth"]
    assert steps[-1] == (len(CONTENT), len(CONTENT)) and len(told) > 3


def test_goes_on_where_it_broke_off(server, folder):
    server.cut = 3_000_000
    with pytest.raises(download.DownloadError, match="the connection broke; what has come is kept"):
        download.download(file_at(server))
    size = (folder / "weights.pth.part").stat().st_size
    assert 1_000_000 < size <= 3_000_000 and not (folder / "weights.pth").exists()
    server.cut = None
    assert download.download(file_at(server)).read_bytes() == CONTENT
    assert server.ranges == [None, f"bytes={size}-"]


def test_starts_anew_where_the_server_has_no_ranges(server, folder):
    server.knows_range = False
    write_part(server, folder, b"of something else")
    assert download.download(file_at(server)).read_bytes() == CONTENT


def test_starts_anew_where_the_part_is_too_long(server, folder):
    write_part(server, folder, CONTENT + b"more")
    assert download.download(file_at(server)).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 4}-", None]


def write_part(server, folder, content):
    """As if the beginning of the server's file had come before."""
    folder.mkdir(exist_ok=True)
    (folder / "weights.pth.part").write_bytes(content)
    facts = {"source": file_at(server).source, "etag": '"one"', "modified": "", "total": len(CONTENT)}
    (folder / "weights.pth.part.json").write_text(json.dumps(facts))


def test_other_content_than_expected_is_removed(server, folder):
    with pytest.raises(download.DownloadError, match="instead of 1234 and was removed") as failure:
        download.download(file_at(server, sha256="1234"))
    assert hashlib.sha256(CONTENT).hexdigest() in str(failure.value)
    assert not list(folder.iterdir())


def test_failures_say_how_to_get_the_file_by_hand(server, folder):
    by_hand = f"get it by hand from {server.address}/other.pth and put it into {folder}"
    with pytest.raises(download.DownloadError, match="the server answered 404 Not Found") as failure:
        download.download(file_at(server, "other.pth"))
    assert by_hand in str(failure.value) and "\n" not in str(failure.value)
    server.shutdown()
    server.server_close()
    with pytest.raises(download.DownloadError, match="127.0.0.1 does not answer") as failure:
        download.download(file_at(server, "other.pth"))
    assert by_hand in str(failure.value) and not list(folder.iterdir())


def test_full_disk(server, folder):
    with full_disk(100_000), pytest.raises(download.DownloadError, match=r"could not be fetched: File too large\."):
        download.download(file_at(server))
    assert (folder / "weights.pth.part").stat().st_size == 100_000
    for path in folder.iterdir():
        path.unlink()
    server.announced = 10**17
    with pytest.raises(download.DownloadError, match="needs 100,000,000,000 MB, and the disk has less"):
        download.download(file_at(server))
    assert not (folder / "weights.pth").exists()
    server.announced = None
    assert download.download(file_at(server)).read_bytes() == CONTENT


def test_cancelled(server, folder, monkeypatch):
    def cancel(value, *_, **__):
        if value > 2_000_000:
            comfy.model_management.interrupt_current_processing()

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", cancel)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        download.download(file_at(server))
    assert sorted(entry.name for entry in folder.iterdir()) == ["weights.pth.part", "weights.pth.part.json"]
    assert (folder / "weights.pth.part").read_bytes() == CONTENT[: (folder / "weights.pth.part").stat().st_size]
    monkeypatch.undo()


def test_the_node_fetches_only_when_told(server, folder, tmp_path, monkeypatch):
    path = iqa_nets.write_cnniqa(tmp_path)
    server.content = path.read_bytes()
    path.unlink()
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    with pytest.raises(FileNotFoundError, match=f"from {server.address}/.*/{path.name} into .*download_if_missing"):
        nodes.IQAModelLoader.execute("cnniqa")
    assert server.ranges == []
    (model,) = nodes.IQAModelLoader.execute("cnniqa", download_if_missing=True).args
    image = iqa_nets.photos(1).movedim(-1, 1)
    torch.testing.assert_close(
        model.patcher.model(image), iqa_nets.pyiqa_metric("cnniqa", path)(image).reshape(1), atol=1e-5, rtol=0
    )
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was touched"))
    nodes.IQAModelLoader.execute("cnniqa", download_if_missing=True)
