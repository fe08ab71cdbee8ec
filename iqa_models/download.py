"""Fetches weight files to ``models/iqa/`` for users who ask for it: resumable, checked, cancellable."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from urllib.parse import urlparse

import comfy.model_management
import comfy.utils
import folder_paths
import requests
from tqdm import tqdm

from ..files import put_in_place
from .weights import FOLDER, WeightFile

BLOCK = 2**20  # bytes between two looks at the cancel button
TIMEOUT = (10, 30)  # seconds: to connect, and between two packets


class DownloadError(OSError):
    """A weight file did not arrive; the message says why, and how to get it by hand."""


def download(file: WeightFile) -> Path:
    """Fetch a file to the first folder of ComfyUI's ``iqa`` models.

    What arrives lies in ``NAME.part`` until it is complete; a later call goes on from there if the server can (HTTP
    Range, RFC 9110 section 14), and anew if it cannot or the part does not fit. Progress is shown at the node and in
    the log.

    Returns:
        Where the file is.

    Raises:
        DownloadError: no network, an HTTP error, a body that ends early, no room on the disk, or content with another
            SHA-256 than the catalogue's, which is removed.
        comfy.model_management.InterruptProcessingException: the user cancelled; the part is kept.
    """
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0])
    part = folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fetch(file, part)
        _check(file, part)
        put_in_place(part, folder / file.name)
    except OSError as error:  # requests' errors are OSErrors, too
        raise DownloadError(
            f"{file.name} could not be fetched: {_reason(error, file)}. "
            f"Try again, or get it by hand from {file.source} and put it into {folder}."
        ) from error
    return folder / file.name


def _fetch(file: WeightFile, part: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    with requests.get(file.source, headers=headers, stream=True, timeout=TIMEOUT) as response:
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        if done and not resumed and response.status_code in (206, 416):  # the part is not of this file
            part.unlink()
            return _fetch(file, part)
        response.raise_for_status()
        _receive(response, part, done if resumed else 0)


def _receive(response: requests.Response, part: Path, done: int) -> None:
    """Write the body behind the first ``done`` bytes of the part."""
    total = done + int(response.headers.get("Content-Length", 0))
    if total - done > shutil.disk_usage(part.parent).free:
        raise OSError(f"it needs {(total - done) / 1e6:,.0f} MB, and the disk has less")
    bar = comfy.utils.ProgressBar(total)
    log = tqdm(initial=done, total=total or None, desc=part.stem, unit="B", unit_scale=True)
    with log, part.open("ab" if done else "wb") as output:
        for block in response.iter_content(BLOCK):
            comfy.model_management.throw_exception_if_processing_interrupted()
            output.write(block)
            done += len(block)
            log.update(len(block))
            bar.update_absolute(done)
    if done < total:
        raise requests.exceptions.ChunkedEncodingError


def _check(file: WeightFile, part: Path) -> None:
    if not file.sha256:
        return
    digest = hashlib.sha256()
    with part.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    if digest.hexdigest() != file.sha256:
        part.unlink()
        raise OSError(f"what came has SHA-256 {digest.hexdigest()} instead of {file.sha256} and was removed")


def _reason(error: OSError, file: WeightFile) -> str:
    """In words, without the addresses of objects that requests puts into its messages."""
    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke; what has come is kept, and another try goes on from there"
    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return f"{urlparse(file.source).hostname} does not answer"
    return error.strerror or str(error)
