"""Lists and numbers that people write into nodes; in graphs of strangers they can be any text, of any length."""

from __future__ import annotations

import re

NUMBER = r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:e[+-]?[0-9]{1,2})?"  # finite, and read in one go


def entries(text: str) -> list[str]:
    """Parts between commas, semicolons or new lines, without blanks around them; empty ones are left out."""
    return [part.strip() for part in re.split(r"[,;\n]", text) if part.strip()]


def numbers(text: str, name: str, example: str = "percentiles such as 1, 50, 99") -> list[float]:
    """Numbers from ``1, 25, 99``; blanks may part them, too.

    Args:
        name: of the input, for messages.

    Raises:
        ValueError: one cannot be read.
    """
    parts = [part for part in re.split(r"[,;\s]+", text) if part]
    if not all(re.fullmatch(NUMBER, part, re.IGNORECASE) for part in parts):
        raise ValueError(f"The {name} {quoted(text)} cannot be read; write {example}.")
    return [float(part) for part in parts]


def quoted(text: str) -> str:
    """As messages can bear it: printable, in quotation marks, with a hole where it is long."""
    return repr(text if len(text) <= 400 else f"{text[:150]}...{text[-150:]}")
