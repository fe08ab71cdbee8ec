"""Installs what the pack needs and changes nothing that is there. Run it once, with ComfyUI's own Python::

    python install.py

ComfyUI-Manager does so by itself. Only what cannot be imported is installed, and every package that is installed
already is pinned to its version meanwhile: ComfyUI keeps its transformers and numpy, and whoever has some flavour of
opencv keeps it. pyiqa comes without its own requirements, which would replace transformers 4 and add 60 packages, most
of which no metric of this pack touches. What cannot be had that way is named at the end, and the exit status is 1.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().with_name("requirements.txt")
OF_COMFYUI = ("torch", "torchvision")  # must fit the graphics card and each other: never installed from here
OF_PYIQA = {  # module -> package; what pyiqa imports itself, then what architectures import
    "cv2": "opencv-python-headless",
    "pandas": "pandas",
    "requests": "requests",
    "tqdm": "tqdm",
    "huggingface_hub": "huggingface_hub",
    "timm": "timm",
    "einops": "einops",
    "ftfy": "ftfy",
    "regex": "regex",
    "clip": "openai-clip",
}
MODULES = {"pillow": "PIL", "pyyaml": "yaml", "scikit-image": "skimage"}  # where they differ from the package's name
IMPORT = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else ""
        if missing != "pkg_resources":  # OpenAI's clip asks for it; the pack does without
            found[name] = None if missing == name else f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""
PEP440 = re.compile(r"(\d+!)?\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?(\+[a-z0-9]+([._-][a-z0-9]+)*)?", re.I)


def main() -> int:
    needs = own_requirements() | OF_PYIQA
    problems = failing([*OF_COMFYUI, *needs, "pyiqa"])
    if "torch" in problems:
        print(f"{sys.executable} has no torch: it is not ComfyUI's Python. Run this file with ComfyUI's own.")
        return 1
    missing = {module: needs[module] for module in needs if problems.get(module, "") is None}
    with tempfile.TemporaryDirectory() as folder:
        pins = Path(folder, "constraints.txt")
        pins.write_text("".join(f"{line}\n" for line in installed()), encoding="utf-8")
        refusals = install_all(missing, pins)
        if problems.get("pyiqa", "") is None:
            refusals["pyiqa"] = install([fitting_pyiqa()], pins, "--no-deps")
    left = failing(list(problems))
    for module, error in left.items():
        what = "is missing" if error is None else f"is installed but cannot be imported ({error}); it was left as it is"
        print(f"{module} {what}. {refusals.get(module, '')}".rstrip())
    print("Nodes that need it say so; all others work." if left else "Everything that the pack needs is there.")
    return int(bool(left))


def own_requirements() -> dict[str, str]:
    """The lines of requirements.txt, by the module that each is imported as; without those of ComfyUI itself."""
    lines = [line.partition("#")[0].strip() for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines()]
    by_name = {re.split(r"[<>=!~ ;\[]", line, maxsplit=1)[0].lower(): line for line in lines if line}
    return {MODULES.get(name, name): line for name, line in by_name.items() if name not in OF_COMFYUI}


def failing(modules: list[str]) -> dict[str, str | None]:
    """Modules that cannot be imported, in a new process: None if they are not there, else what is wrong with them."""
    command = [*python(), "-c", IMPORT, *modules]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir())
    return json.loads(done.stdout.splitlines()[-1])


def installed() -> list[str]:
    """``name==version`` of every package; versions that pip cannot read (of a Linux distribution) are left out."""
    distributions = reversed(list(metadata.distributions()))  # of two of a name the first on the path counts
    versions = {found.metadata["Name"]: found.version for found in distributions}
    return sorted(
        f"{name}=={version}" for name, version in versions.items() if name and version and PEP440.fullmatch(version)
    )


def fitting_pyiqa() -> str:
    """0.1.16 only beside transformers 5, of which it says that it needs it: else the next pack that lists pyiqa makes
    pip upgrade ComfyUI's transformers."""
    try:
        major = int(metadata.version("transformers").partition(".")[0])
    except metadata.PackageNotFoundError:
        major = 0
    return "pyiqa==0.1.16" if major >= 5 else "pyiqa==0.1.15.post2"


def install_all(missing: dict[str, str], pins: Path) -> dict[str, str]:
    """Install packages by module, together, or where that is refused one by one; what :func:`install` said of each."""
    if not missing or not install(list(missing.values()), pins):
        return {}
    return {module: install([package], pins) for module, package in missing.items()}


def install(packages: list[str], pins: Path, *options: str) -> str:
    """Install packages beside what is there.

    Returns:
        Empty if that went well, else what pip or uv said.
    """
    print(f"Installing {', '.join(packages)}", flush=True)
    done = subprocess.run(
        [*installer(), "--constraint", str(pins), *options, *packages],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tempfile.gettempdir(),
    )  # fmt: skip
    return "" if done.returncode == 0 else "It could not be installed: " + " ".join(done.stdout.splitlines()[-3:])


def installer() -> list[str]:
    """pip of this Python, or uv where an environment was made without pip."""
    uv = shutil.which("uv")
    if importlib.util.find_spec("pip") is None and uv:
        return [uv, "pip", "install", "--python", sys.executable]
    return [*python(), "-m", "pip", "install", "--disable-pip-version-check"]


def python() -> list[str]:
    """This Python; with -s where it was started so, as portable ComfyUI is, lest it sees the user's own packages."""
    return [sys.executable, *(["-s"] if sys.flags.no_user_site else [])]


if __name__ == "__main__":
    sys.exit(main())
