"""Answers of ``validate_inputs``: True, or a sentence that says what is wrong."""

from ..training.names import check_name


def named(name: str) -> bool | str:
    """Of the name of a table, a run or a new folder."""
    try:
        check_name(name)
    except ValueError as error:
        return str(error)
    return True


def first_problem(*answers: bool | str) -> bool | str:
    """Of several answers the first that is no yes."""
    return next((answer for answer in answers if answer is not True), True)
