"""Fetches weight files to ``models/iqa/`` for users who ask for it: resumable, checked, cancellable."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import comfy.model_management
import comfy.utils
import folder_paths
import requests
from filelock import FileLock, Timeout
from tqdm import tqdm
from typing_extensions import TypedDict
from urllib3.exceptions import HTTPError

from ..files import Text, put_in_place, read_json, shown, write_json
from ..wrong_files import something_else
from .known_files import known_digest, place
from .matlab import read_matlab
from .receiving import LOOK, answer
from .weights import BLOCK, FOLDER, WeightFile, read

LARGEST = 2**35  # bytes of a file; those of the catalogue have up to 3 GB
ABANDONED = 30 * 24 * 3600  # seconds, after which the part of a file that nobody wants any more is removed
BEGINNING = 1024  # bytes that tell what a file is
FAULTS = (OSError, HTTPError, http.client.HTTPException, ValueError)  # of requests, urllib3 and servers


class DownloadError(OSError):
    """A weight file did not arrive; the message says why, and how to get it by hand."""


class _Begun(TypedDict):
    """Beside a part: of what it is the beginning."""

    source: Text
    etag: Text
    modified: Text
    total: int


def download(file: WeightFile) -> Path:
    """Fetch a file to the first folder of ComfyUI's ``iqa`` models.

    What arrives lies in ``NAME.part`` until it is complete, of one version of the file, a weight file from its
    beginning to its end, and the one that is expected: by the catalogue's SHA-256, or that of its first use here. A
    later call goes on from the part if the server can say that the file is still the same (If-Range, RFC 9110 section
    13.1.5), else it begins anew. Progress is shown at the node and in the log.

    Returns:
        Where the file is.

    Raises:
        DownloadError: no network, an answer that makes no sense, a body that ends early, no room on the disk, or
            content that is none, which is removed.
        comfy.model_management.InterruptProcessingException: the user cancelled; the part is kept.
    """
    folder = Path(folder_paths.get_folder_paths(FOLDER)[0])
    target, part = folder / file.name, folder / f"{file.name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder / f".{file.name}.lock"):
            if target.is_file():  # another process was quicker
                return target
            _remove_abandoned(folder)
            _fetch(file, part)
            _check(file, part)
            put_in_place(part, target)
            _facts(part).unlink(missing_ok=True)
    except FAULTS as error:
        raise DownloadError(
            f"{file.name} could not be fetched: {_reason(error, file)}. "
            f"Try again, or get it by hand from {file.source} and put it into {shown(folder)}."
        ) from error
    return target


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other process fetches the same file; waits for it, if need be."""
    lock = FileLock(path)
    while not lock.is_locked:
        comfy.model_management.throw_exception_if_processing_interrupted()
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=LOOK)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()
        lock.release()


def _remove_abandoned(folder: Path) -> None:
    for path in [*folder.glob("*.part"), *folder.glob("*.part.json")]:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink()


def _facts(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _begun(file: WeightFile, part: Path) -> _Begun | None:
    """What a part is the beginning of; None where that is not known, so that no one can go on from it."""
    try:
        found = read_json(_facts(part), _Begun)
    except (OSError, ValueError):
        return None
    return found if part.is_file() and found["source"] == file.source else None


def _fetch(file: WeightFile, part: Path, resume: bool = True) -> None:
    begun = _begun(file, part) if resume else None
    done = part.stat().st_size if begun else 0
    headers = {"Accept-Encoding": "identity"}
    if done and begun:
        headers |= {"Range": f"bytes={done}-", "If-Range": begun["etag"] or begun["modified"]}
    with answer(file.source, headers) as (response, blocks):
        if response.status_code == 416 and done:  # the part is longer than the file
            return _fetch(file, part, resume=False)
        response.raise_for_status()
        if response.status_code not in (200, 206):
            raise OSError(f"the server answered {response.status_code}, which is no file")
        if urlparse(file.source).scheme == "https" != urlparse(response.url).scheme:
            raise OSError("the server sends to an address that is not encrypted")
        if packed := response.headers.get("Content-Encoding", "identity").strip().lower().replace("identity", ""):
            raise OSError(f"the server sends it packed ({shown(packed)}), though it was asked not to")
        total = _length(response)
        if response.status_code == 206:
            if not begun or not _goes_on(response, begun, done):
                return _fetch(file, part, resume=False) if resume else _no_range()
            total = begun["total"]
        else:
            done = 0
            _begin(file, part, response, total)
        _write(blocks, part, done, total, file.name)


def _no_range() -> None:
    raise OSError("the server sends a part of the file, though it was asked for all of it")


def _length(response: requests.Response) -> int:
    """Bytes of the body; 0 where the server does not say.

    Raises:
        OSError: it is no number, or far too large.
    """
    text = response.headers.get("Content-Length", "").strip()
    if text and not re.fullmatch(r"[0-9]{1,18}", text):
        raise OSError(f"the server says that it has {shown(text[:40])} bytes, which is no number")
    return int(text or 0)


def _goes_on(response: requests.Response, begun: _Begun, done: int) -> bool:
    """Whether what comes is the rest of the same file."""
    right = f"bytes {done}-{begun['total'] - 1}/{begun['total']}"
    same = response.headers.get("ETag", begun["etag"]) == begun["etag"]
    return same and response.headers.get("Content-Range", "").strip() == right


def _begin(file: WeightFile, part: Path, response: requests.Response, total: int) -> None:
    """Forget an old part; note what the new one is of, if the server says how to tell that it is the same later."""
    part.unlink(missing_ok=True)
    _facts(part).unlink(missing_ok=True)
    etag, modified = (response.headers.get(name, "")[:1000] for name in ("ETag", "Last-Modified"))
    etag = "" if etag.startswith("W/") else etag  # a weak one does not say that bytes are the same
    if total and (etag or modified):
        write_json(_facts(part), _Begun(source=file.source, etag=etag, modified=modified, total=total))


def _write(blocks: Iterator[bytes], part: Path, done: int, total: int, name: str) -> None:
    """Append the body behind the first ``done`` bytes of the part."""
    if total - done > shutil.disk_usage(part.parent).free:
        raise OSError(f"it needs {(total - done) / 1e6:,.0f} MB, and the disk has less")
    bar = comfy.utils.ProgressBar(total)
    log = tqdm(initial=done, total=total or None, desc=name, unit="B", unit_scale=True)
    with log, part.open("ab" if done else "wb") as output:
        for block in blocks:
            output.write(block)
            done += len(block)
            if done > (total or LARGEST):
                raise OSError("more comes than the file has")
            log.update(len(block))
            bar.update_absolute(done)
    if done < total:
        raise requests.exceptions.ChunkedEncodingError


def _check(file: WeightFile, part: Path) -> None:
    """Remove what is not the file that was asked for.

    Raises:
        OSError: it is not.
    """
    try:
        expected = file.sha256 or known_digest(file.name)
        found = _digest(part)
        if expected and found != expected:
            known = "" if file.sha256 else f", as {shown(place())} has it from its first use,"
            raise OSError(f"what came has SHA-256 {found} instead of {expected}{known} and was removed")
        if not file.sha256:
            _check_kind(file, part)
    except OSError:
        part.unlink(missing_ok=True)
        _facts(part).unlink(missing_ok=True)
        raise


def _check_kind(file: WeightFile, part: Path) -> None:
    """Whether the whole of it can be read as a file of its kind."""
    suffix = Path(file.name).suffix
    with part.open("rb") as content:
        beginning = content.read(BEGINNING)
    try:
        if suffix == ".mat":
            read_matlab(part)
        elif suffix == ".safetensors" and beginning[8:9] != b"{":
            raise something_else(beginning)
        else:
            read(part)
    except ValueError as error:
        reason = str(error).partition(part.name)[2].strip() or str(error)
        raise OSError(f"what came {shown(reason).rstrip('.')}; it was removed") from error


def _digest(part: Path) -> str:
    digest = hashlib.sha256()
    with part.open("rb") as content:
        while block := content.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _reason(error: Exception, file: WeightFile) -> str:
    """In words, without the addresses of objects that requests puts into its messages."""
    if isinstance(error, requests.HTTPError):
        return f"the server answered {error.response.status_code} {shown(error.response.reason)}".rstrip()
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "the server sends from one address to the next without end"
    broken = (requests.exceptions.ChunkedEncodingError, HTTPError, http.client.HTTPException)
    if isinstance(error, broken):
        return "the connection broke; what has come is kept, and another try goes on from there if the server can"
    if isinstance(error, (requests.ConnectionError, requests.Timeout)):
        return f"{urlparse(file.source).hostname} does not answer"
    if isinstance(error, requests.RequestException) or not isinstance(error, OSError):
        return "the server's answer makes no sense, perhaps it leads to no address"
    return shown(error.strerror or error).rstrip(".")
