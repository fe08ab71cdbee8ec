"""Runs tests beside other versions of what users have: pyiqa 0.1.15 and 0.1.16, transformers 4 and 5.

::

    python tests/with_versions.py                                  # the tests of IQA models, with all four
    python tests/with_versions.py tests/graph -k composition       # others
    python tests/with_versions.py --only pyiqa-0.1.15.post2        # combinations whose name holds that

The packages are put into .runtime/versions/, without what they need, before the environment's own on the path.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".runtime" / "versions"
PYIQA = {name: [name.replace("-", "==", 1)] for name in ("pyiqa-0.1.15.post2", "pyiqa-0.1.16")}
TRANSFORMERS = {
    "transformers-4": [  # and what of the tests' own packages goes with it
        *("transformers==4.57.6", "huggingface_hub==0.36.0", "tokenizers==0.22.1"),
        *("diffusers==0.36.0", "peft==0.18.0", "datasets==4.4.1"),
    ],
    "transformers-5": [],  # the environment's
}
IQA_TESTS = ["-q", *map(str, sorted(ROOT.glob("tests/unit/test_iqa_models_*.py")))]


def packages(name: str, requirements: list[str]) -> Path:
    """Folder of packages to put on the path."""
    folder = FOLDER / name
    if requirements and not folder.exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *requirements], check=True)
    return folder


def main(arguments: list[str]) -> int:
    only = ""
    if arguments[:1] == ["--only"]:
        only, arguments = arguments[1], arguments[2:]
    failed = []
    for (pyiqa, needs), (transformers, more) in itertools.product(PYIQA.items(), TRANSFORMERS.items()):
        name = f"{pyiqa} with {transformers}"
        if only not in name:
            continue
        path = [packages(pyiqa, needs), packages(transformers, more)]
        print(f"== {name}", flush=True)
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, path))}
        command = [sys.executable, "-m", "pytest", *(arguments or IQA_TESTS)]
        if subprocess.run(command, cwd=ROOT, env=environment).returncode:
            failed.append(name)
    print(f"Failed: {', '.join(failed)}" if failed else "All passed.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
