"""install.py in small virtual environments of made-up wheels, offline: what is there stays, what is missing comes."""

import json
import os
import shutil
import subprocess
import venv
import zipfile
from pathlib import Path

import pip
import pytest

ROOT = Path(__file__).resolve().parents[2]
BOTH_YEARS = {  # of ComfyUI's own requirements, which the pack or pyiqa need, too
    "Pillow 11.3.0": "PIL", "PyYAML 6.0.3": "yaml", "requests 2.32.5": "requests", "tqdm 4.67.1": "tqdm",
    "safetensors 0.6.2": "safetensors", "kornia 0.8.2": "kornia", "scipy 1.15.3": "scipy", "einops 0.8.1": "einops",
    "packaging 25.0": "packaging", "pydantic 2.12.4": "pydantic",
}  # fmt: skip
LATE_2025 = BOTH_YEARS | {
    "torch 2.9.0+cu128": "torch", "torchvision 0.24.0+cu128": "torchvision", "numpy 1.26.4": "numpy",
    "transformers 4.57.1 huggingface_hub<1.0": "transformers", "huggingface_hub 0.36.0": "huggingface_hub",
    "opencv-contrib-python 4.11.0.86 numpy>=1.21": "cv2 cv2/ximgproc", "made-by-a-distribution 0.23ubuntu1": "",
}  # fmt: skip
LATE_2026 = BOTH_YEARS | {
    "torch 2.13.0": "torch", "torchvision 0.28.0": "torchvision", "numpy 2.4.6": "numpy",
    "transformers 5.24.0 huggingface_hub>=1": "transformers", "huggingface_hub 2.4.0": "huggingface_hub",
}  # fmt: skip
PYIQA = "accelerate datasets bitsandbytes einops facexlib numpy openai-clip opencv-python-headless pandas Pillow pyyaml"
INDEX = {
    f"pyiqa 0.1.15.post2 {PYIQA} transformers>=4.36.1": "pyiqa",
    f"pyiqa 0.1.16 {PYIQA} transformers>=5.0": "pyiqa",
    "numpy 1.26.4": "numpy", "numpy 2.4.6": "numpy",
    "transformers 4.57.1 huggingface_hub<1.0": "transformers",
    "transformers 5.24.0 huggingface_hub>=1": "transformers",
    "huggingface_hub 0.36.0": "huggingface_hub", "huggingface_hub 2.4.0": "huggingface_hub",
    "pandas 2.3.3 numpy>=1.23": "pandas", "pandas 3.1.1 numpy>=2.0.2": "pandas",
    "opencv-python-headless 4.11.0.86 numpy>=1.21": "cv2", "opencv-python-headless 5.0.0.93 numpy>=2": "cv2",
    "timm 1.0.31 torch torchvision pyyaml huggingface_hub safetensors": "timm",
    "openai-clip 1.0.1 ftfy regex tqdm": "clip", "ftfy 6.3.1": "ftfy", "regex 2025.9.1": "regex",
    "accelerate 1.15.0 numpy>=1.17 torch>=2.0.0 huggingface_hub>=0.21.0 safetensors>=0.4.3": "accelerate",
    "matplotlib 3.11.2 numpy>=1.25 pillow>=9": "matplotlib", "pyarrow 26.0.1": "pyarrow",
    "scikit-image 0.26.0 numpy>=1.24 scipy>=1.11.4 pillow>=10.1": "skimage",
    "datasets 5.2.0": "datasets", "bitsandbytes 0.50.2": "bitsandbytes", "facexlib 0.3.0": "facexlib",
}  # fmt: skip
NEW = {"accelerate", "matplotlib", "pandas", "pyarrow", "pyiqa", "scikit-image", "timm", "openai-clip", "ftfy", "regex"}


def write_wheel(folder: Path, described: str, modules: str) -> Path:
    """A wheel of empty modules; described as ``name version requirement requirement …``."""
    name, version, *requirements = described.split()
    stem = f"{name.replace('-', '_')}-{version}"
    head = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}", *map("Requires-Dist: {}".format, requirements)]
    files = {f"{module}.py" if "/" in module else f"{module}/__init__.py": "" for module in modules.split()}
    files[f"{stem}.dist-info/METADATA"] = "\n".join(head) + "\n"
    files[f"{stem}.dist-info/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{stem}.dist-info/RECORD"] = "".join(f"{path},,\n" for path in files)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
    return Path(wheel.filename)


class Environment:
    """A virtual environment in which wheels lie, and an index of others."""

    def __init__(self, folder: Path, wheels: dict, index: dict):
        venv.create(folder / "venv", with_pip=False)
        self.index = folder / "index"
        self.python = next(path for path in folder.glob("venv/*/python*") if path.stem == "python")
        self.site = Path(self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
        shutil.copytree(Path(pip.__file__).parent, self.site / "pip")  # a link would let pip write through it
        for there, described in ((folder / "wheels", wheels), (self.index, index)):
            there.mkdir()
            for text, modules in described.items():
                wheel = write_wheel(there, text, modules)
                if there != self.index:
                    zipfile.ZipFile(wheel).extractall(self.site)

    def run(self, *command):
        offline = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
        return subprocess.run([self.python, *command], env=inherited | offline, capture_output=True, text=True)

    def install(self):
        return self.run(str(ROOT / "install.py"))

    def versions(self) -> dict[str, str]:
        listed = "import json; from importlib.metadata import distributions as all; " \
                 "print(json.dumps({found.metadata['Name']: found.version for found in all()}))"  # fmt: skip
        return json.loads(self.run("-c", listed).stdout)


def without(index: dict, *beginnings: str) -> dict:
    return {text: modules for text, modules in index.items() if not text.startswith(beginnings)}


@pytest.mark.parametrize(
    "there, expected",
    [
        (LATE_2025, {"pyiqa": "0.1.15.post2", "pandas": "2.3.3"}),
        (LATE_2026, {"pyiqa": "0.1.16", "pandas": "3.1.1", "opencv-python-headless": "5.0.0.93"}),
    ],
    ids=["late 2025", "late 2026"],
)
def test_installs_what_is_missing_and_changes_nothing(tmp_path, there, expected):
    environment = Environment(tmp_path, there, INDEX)
    before = environment.versions()
    done = environment.install()
    after = environment.versions()
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == NEW | expected.keys()
    assert {name: after[name] for name in expected} == expected
    assert environment.run("-c", "import pyiqa, clip, timm, cv2").returncode == 0

    again = environment.install()
    assert again.returncode == 0 and "Installing" not in again.stdout
    assert environment.versions() == after


def test_a_flavour_of_opencv_stays_the_only_one(tmp_path):
    environment = Environment(tmp_path, LATE_2025, INDEX)
    environment.install()
    assert environment.run("-c", "import cv2.ximgproc").returncode == 0
    assert [name for name in environment.versions() if "opencv" in name] == ["opencv-contrib-python"]


@pytest.mark.parametrize("there", [LATE_2025, LATE_2026], ids=["late 2025", "late 2026"])
def test_requirements_txt_alone_changes_nothing_either(tmp_path, there):
    environment = Environment(tmp_path, there, INDEX)
    before = environment.versions()
    done = environment.run("-m", "pip", "install", "-r", str(ROOT / "requirements.txt"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: environment.versions()[name] for name in before} == before


def test_pyiqa_with_its_own_requirements_would_replace_transformers(tmp_path):
    """What these tests guard against does happen with these wheels."""
    environment = Environment(tmp_path, LATE_2025, INDEX)
    assert environment.run("-m", "pip", "install", "pyiqa==0.1.16").returncode == 0
    assert environment.versions()["transformers"] == "5.24.0"


def test_a_pyiqa_that_is_there_stays(tmp_path):
    environment = Environment(tmp_path, LATE_2025 | {"pyiqa 0.1.16": "pyiqa"}, INDEX)
    assert environment.install().returncode == 0
    assert environment.versions()["pyiqa"] == "0.1.16"


def test_what_cannot_be_had_is_named_and_the_rest_comes(tmp_path):
    environment = Environment(tmp_path, LATE_2025, without(INDEX, "pandas 2", "pyiqa"))
    before = environment.versions()
    done = environment.install()
    assert done.returncode == 1
    lines = [line for line in done.stdout.splitlines() if " is missing. It could not be installed: " in line]
    assert [line.split()[0] for line in lines] == ["pandas", "pyiqa"]
    after = environment.versions()
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == NEW - {"pandas", "pyiqa"}


def test_a_broken_package_is_named_and_left(tmp_path):
    environment = Environment(tmp_path, LATE_2025, INDEX)
    (environment.site / "cv2" / "__init__.py").write_text("raise ImportError('libGL.so.1 cannot be opened')")
    done = environment.install()
    assert done.returncode == 1
    assert "cv2 is installed but cannot be imported (ImportError: libGL.so.1 cannot be opened)" in done.stdout
    assert "opencv-python-headless" not in environment.versions()


def test_another_python_than_comfyuis_is_refused(tmp_path):
    environment = Environment(tmp_path, BOTH_YEARS, INDEX)
    before = environment.versions()
    done = environment.install()
    assert done.returncode == 1 and "no torch: it is not ComfyUI's Python" in done.stdout
    assert environment.versions() == before


def test_pyproject_names_the_same_requirements():
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    lines = [line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == [line for line in lines if line and not line.startswith("#")]
