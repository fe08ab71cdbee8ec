"""The processes that train or score together under ``accelerate launch`` or ``torchrun``; usually there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from ..optional import needed

if TYPE_CHECKING:
    from accelerate import PartialState

Result = TypeVar("Result")


def processes(cpu: bool = False) -> PartialState:
    """What this process knows of all of them.

    Args:
        cpu: compute on the CPU though there is a GPU; only the first call in a process decides.
    """
    with needed("accelerate"):
        from accelerate import PartialState
    return PartialState(cpu=cpu)


def is_main() -> bool:
    return processes().is_main_process


def share(work: Sequence[Result]) -> Sequence[Result]:
    """The part of the work that is this process's."""
    return work[processes().process_index :: processes().num_processes]


def any_of_all(mine: bool) -> bool:
    """Whether any process says so; every one must ask."""
    with needed("accelerate"):
        from accelerate.utils import gather_object

    return any(gather_object([mine]))


def in_main(work: Callable[[], Result]) -> Result:
    """What the main process's ``work()`` gives, in every process; the others wait for it.

    Raises:
        Exception: what ``work`` raises, in the main process.
        SystemExit: in the others then, for the main process says why.
    """
    outcome: list = [None, False]
    error = None
    if is_main():
        try:
            outcome[0] = work()
        except Exception as raised:  # whatever it is, the others must not wait for ever
            outcome[1], error = True, raised
    with needed("accelerate"):
        from accelerate.utils import broadcast_object_list

    broadcast_object_list(outcome)
    if error is not None:
        raise error
    if outcome[1]:
        raise SystemExit(1)
    return outcome[0]
