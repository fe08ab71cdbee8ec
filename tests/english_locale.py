"""The English locale, as the nodes have it: ``python tests/english_locale.py`` writes locales/en/nodeDefs.json.

Front ends take names and tooltips from a locale before those of a schema. Tooltips that depend on what is installed
(lists, on several lines, and sizes of downloads) are left to the schema.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "locales" / "en" / "nodeDefs.json"


def english() -> dict:
    """Content of the file."""
    from iqa_adapter.nodes import NODES

    return {node.GET_SCHEMA().node_id: _texts(node.GET_SCHEMA()) for node in NODES}


def _texts(schema) -> dict:
    inputs = {item.id: _text(getattr(item, "display_name", None) or item.id, item.tooltip) for item in schema.inputs}
    outputs = {str(place): _text(item.display_name, item.tooltip) for place, item in enumerate(schema.outputs)}
    return {
        "display_name": schema.display_name,
        "description": schema.description,
        "inputs": inputs,
        "outputs": outputs,
    }


def _text(name: str | None, tooltip: str) -> dict:
    fixed = {} if "\n" in tooltip or "Sizes in MB" in tooltip else {"tooltip": tooltip}
    return ({"name": name} if name else {}) | fixed


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    import comfyui_runtime

    comfyui_runtime.load_pack()
    FILE.write_text(json.dumps(english(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
