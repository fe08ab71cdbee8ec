"""What the front end loads of the pack, as far as no browser is needed."""

import re

import pytest

import comfyui_runtime

SCRIPTS = sorted((comfyui_runtime.ROOT / "web").rglob("*.js"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_script(script):
    text = script.read_text(encoding="utf-8")
    assert text.isascii(), "servers on Windows may send it as cp1252"
    assert re.findall(r'from "([^"]+)"', text) == [
        name
        for name in re.findall(r'from "([^"]+)"', text)
        if name in ("../../scripts/app.js", "../../scripts/api.js") or (script.parent / name).is_file()
    ]
    names = re.findall(r'registerExtension\(\{\s*name: "([^"]+)"', text)
    assert all(name.startswith("iqaadapter.") for name in names)
    assert text.count("registerExtension(") == len(names)


def test_names_of_extensions_are_different():
    names = [name for script in SCRIPTS for name in re.findall(r'name: "(iqaadapter\.[^"]+)"', script.read_text())]
    assert len(names) == len(set(names)) > 0
