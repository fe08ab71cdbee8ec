"""Digests of many pictures in a third of the room that texts take."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

SIZE = 32  # hexadecimal digits


class Digests(Sequence[str]):
    """Texts of 32 hexadecimal digits, or empty ones.

    Args:
        values: ``[n, 2]`` uint64, of an empty one 0. (One digest in 2^128 is 0, too.)
    """

    def __init__(self, values: np.ndarray):
        self.values = values

    @classmethod
    def of(cls, texts: Sequence[str]) -> Digests:
        """Of other texts, which a damaged table may hold, their own digest."""
        plain = [text or SIZE * "0" for text in texts]
        try:
            joined = bytes.fromhex("".join(plain))
            if any(len(text) != SIZE for text in plain):
                raise ValueError
        except ValueError:
            return cls.of([text if _is_digest(text) else _digest(text) for text in plain])
        return cls(np.frombuffer(joined, np.uint64).reshape(-1, 2).copy())

    @classmethod
    def unknown(cls, count: int) -> Digests:
        return cls(np.zeros((count, 2), np.uint64))

    @classmethod
    def joined(cls, parts: Sequence[Digests]) -> Digests:
        return cls(np.concatenate([np.zeros((0, 2), np.uint64), *(part.values for part in parts)]))

    @property
    def known(self) -> np.ndarray:
        """``[n]`` where there is one."""
        return self.values.any(1)

    def take(self, numbers: np.ndarray) -> Digests:
        """Some of them."""
        return Digests(self.values[numbers])

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, number: int) -> str:
        return self.values[number].tobytes().hex() if self.values[number].any() else ""

    def __iter__(self) -> Iterator[str]:
        joined, known = self.values.tobytes().hex(), self.known.tolist()
        return (joined[SIZE * number : SIZE * (number + 1)] if there else "" for number, there in enumerate(known))

    def __setitem__(self, number: int, text: str) -> None:
        self.values[number] = Digests.of([text]).values[0]


def _is_digest(text: str) -> bool:
    return len(text) == SIZE and set(text) <= set("0123456789abcdef")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=SIZE // 2).hexdigest()
