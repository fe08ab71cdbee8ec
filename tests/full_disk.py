"""A disk that is full for this process."""

import contextlib
from collections.abc import Iterator

try:
    import resource
except ImportError:  # Windows
    resource = None

limits_files = resource is not None


@contextlib.contextmanager
def full_disk(room: int = 1000) -> Iterator[None]:
    """Files end after ``room`` bytes, with an error like that of a full disk ("File too large")."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
