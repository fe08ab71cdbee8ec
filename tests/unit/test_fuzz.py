"""Every parser beside hostile files of every kind: at worst ValueError or OSError, which name it; see tests/fuzz."""

import json
import logging

import pytest
from fuzz.mutations import json_text
from fuzz.parsers import Parser, all_parsers, is_json
from fuzz.trial import Wrong, try_file

INPUTS = 500  # of each parser; further ones: python -m tests.fuzz --minutes 10


@pytest.mark.parametrize("parser", all_parsers(), ids=lambda parser: parser.name)
def test_fuzz(parser, tmp_path):
    logging.disable(logging.CRITICAL)
    found, past = [], 0
    try:
        for number in range(INPUTS):
            data = parser.input(number)
            past += parser.past(data)
            try:
                try_file(parser, tmp_path, data)
            except Wrong as problem:
                found.append(f"{number}: {problem}")
    finally:
        logging.disable(logging.NOTSET)
    assert found == []
    assert past >= INPUTS / 2  # more would end in the first check, which is tested enough


GOOD = {"kind": "score", "metrics": [{"name": "a"}, {"name": "b"}], "origin": {"url": "", "version": 1}}


@pytest.mark.parametrize("careful", [False, True])
def test_the_search_finds_a_fault_and_keeps_its_smallest_file(careful, tmp_path):
    pytest.importorskip("hypothesis")
    from fuzz.search import Search

    def read(path):
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path.name} is no JSON.") from error
        if isinstance(content, dict) and (isinstance(content.get("metrics"), list) or not careful):
            list.copy(content.get("metrics"))  # of anything but a list, and of nothing: TypeError

    def make(rng):
        drawn.append(json_text(rng, GOOD))
        return drawn[-1]

    drawn = []
    parser = Parser("planted", "some.json", make, read, is_json)
    search = Search(parser, tmp_path, tmp_path)
    while not search.found and search.files < (300 if careful else 5000):
        search.turn()
    if careful:
        assert not search.found and search.past >= search.files / 2
        return
    ((file, fault),) = search.found.items()
    assert "TypeError" in str(fault)
    assert not isinstance(json.loads(file.read_bytes()).get("metrics"), list)
    assert file.stat().st_size < 2 * len(json.dumps(GOOD))
    with pytest.raises(Wrong, match="TypeError"):
        try_file(parser, tmp_path, file.read_bytes())
    drawn.clear()
    Search(parser, tmp_path, tmp_path).turn()
    assert drawn[0] == file.read_bytes()  # a later search begins with it
