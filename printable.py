"""Names and texts of strangers in messages, logs and nodes."""

from __future__ import annotations

import unicodedata

DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}  # of Windows
FORBIDDEN = set('<>:"/\\|?*')  # in names of files
TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # the direction of writing
BREAKING = ("Cc", "Zl", "Zp")  # categories of control characters and of breaks of lines
NOT_IN_NAMES = "".join(["[", *(rf"\p{{{category}}}" for category in BREAKING), *sorted(TURNING), "]"])  # for RE2


def shown(name: object) -> str:
    """A file name, or another text from a stranger, as messages can bear it: on one line, printable, not endless.

    Bytes that are not UTF-8 become ``\\xe9``, control characters and those that turn the direction of writing their
    escapes.
    """
    text = str(name)
    text = text if len(text) <= 400 else f"{text[:150]}...{text[-150:]}"
    return "".join(map(_printable, text))


def _printable(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that it could not decode
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def one_line(text: str) -> str:
    """The same text, of a file, that nodes, logs and messages will show.

    Raises:
        ValueError: it has more than one line, or turns the direction of writing.
    """
    if not text.isprintable():
        raise ValueError("it has control characters, or turns the direction of writing")
    return text


def fault(name: str) -> str:
    """Why a file name cannot be listed, shown and sent; empty for one that can. Letters of every script can."""
    if not is_utf8(name):
        return "its name is not UTF-8"
    if any(character in TURNING or unicodedata.category(character) in BREAKING for character in name):
        return "its name has control characters, or turns the direction of writing"
    return ""


def for_a_file(name: str) -> str:
    """The name of a stranger's file, without folders, as every system can bear it."""
    name = "".join("_" if character in FORBIDDEN else character for character in name).strip(" ") or "_"
    stem, point, ending = name.partition(".")
    return f"{stem}_{point}{ending}" if stem.strip().lower() in DEVICES else name


def is_utf8(name: str) -> bool:
    """Whether a file name can be printed, logged and sent at all."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
