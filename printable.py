"""Names and texts of strangers in messages, logs and nodes."""

from __future__ import annotations


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


def is_utf8(name: str) -> bool:
    """Whether a file name can be printed, logged and sent at all."""
    return not any("\ud800" <= character <= "\udfff" for character in name)
