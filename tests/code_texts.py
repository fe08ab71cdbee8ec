"""What the pack's code can say: every text in it, with … for what is filled in."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("adapter", "figures", "guidance", "iqa_models", "nodes", "pictures", "quality", "quickstart", "training")


@cache
def code_texts() -> str:
    """Each text on a line of its own; those with line breaks or several spaces a second time, with single spaces."""
    found = []
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py") if "making" not in file.parts]
    for path in (*ROOT.glob("*.py"), *files):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                found.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found + [" ".join(text.split()) for text in found])


def is_said_by(quote: str) -> bool:
    """Whether the parts of a quoted message, between its …, stand in the code."""
    parts = [part.strip(" ,:;") for part in quote.split("…")]
    return any(len(part) > 3 for part in parts) and all(part in code_texts() for part in parts)
