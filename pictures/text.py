"""Text files of strangers -> text."""

from __future__ import annotations

import codecs
import re

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # begins as that of UTF-16 does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
PUNCTUATION = re.compile("[‘’“”«»–—…°©®™€£§·¡¿×\\xa0]")  # of Windows-1252, beside words
# control characters but for white space (\x1a ends files of DOS), and halves of characters
NO_TEXT = re.compile("[\0-\x08\x0e-\x19\x1b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff]")


def decode_text(data: bytes) -> str:
    """UTF-8, UTF-16 and UTF-32 with or without a byte order mark, else Windows-1252 (Latin-1) where it gives words.

    Other encodings of eight bits cannot be told apart in a text as short as a caption: guessing, as charset-normalizer
    does, makes Chinese characters of ``café``. They are refused, for a wrong caption would be learnt without a word.

    Raises:
        ValueError: it is in another encoding, or no text.
    """
    text = _decoded(data)
    if NO_TEXT.search(text):
        raise ValueError("is no text")
    return text


def _decoded(data: bytes) -> str:
    marked = [(mark, name) for mark, name in MARKS if data.startswith(mark)]
    try:
        if marked:
            mark, name = marked[0]
            return data[len(mark) :].decode(name)
        if b"\0" in data:  # half the bytes of plain letters in UTF-16
            return data.decode("utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be")
        return data.decode("utf-8")
    except UnicodeDecodeError:
        text = "" if marked or b"\0" in data else data.decode("cp1252", errors="ignore")
        if len(text) == len(data) and _is_western(text):
            return text
        raise ValueError("is neither UTF-8 nor UTF-16; save it as UTF-8") from None


def _is_western(text: str) -> bool:
    """Whether accented letters are alone or within words of plain ones, two at once at most, unlike other scripts."""
    bare = PUNCTUATION.sub(" ", text)
    return all(character.isascii() or character.isalpha() for character in bare) and all(
        word.isascii() or len(word) == 1 or (re.search("[A-Za-z]", word) and not re.search(r"[^\x00-\x7f]{3}", word))
        for word in re.findall(r"\w+", bare)
    )
