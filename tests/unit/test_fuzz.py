"""Every parser beside hostile files of every kind: at worst ValueError or OSError, which name it; see tests/fuzz."""

import logging

import pytest
from fuzz.parsers import all_parsers
from fuzz.trial import wrong

INPUTS = 500  # of each parser; further ones: python -m tests.fuzz --minutes 10


@pytest.mark.parametrize("parser", all_parsers(), ids=lambda parser: parser.name)
def test_fuzz(parser, tmp_path):
    logging.disable(logging.CRITICAL)
    found, past = [], 0
    try:
        for number in range(INPUTS):
            data = parser.input(number)
            past += parser.past(data)
            if problem := wrong(parser, tmp_path, data):
                found.append(f"{number}: {problem}")
    finally:
        logging.disable(logging.NOTSET)
    assert found == []
    assert past >= INPUTS / 2  # more would end in the first check, which is tested enough
