"""The archive that the registry makes: files of the repository without those that .comfyignore names."""

import subprocess
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def shipped() -> list[str]:
    """Paths within the repository, as ``comfy node pack`` chooses them."""
    return sorted(_listed() - _listed("--cached", "--ignored", "--exclude-from=.comfyignore"))


def _listed(*options: str) -> set[str]:
    command = ["git", "ls-files", "-z", *options]
    text = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {path for path in text.split("\0") if (ROOT / path).is_file()}


def make(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in shipped():
            archive.write(ROOT / name, name)
