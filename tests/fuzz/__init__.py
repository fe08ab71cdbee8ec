"""Files of strangers by the hundred thousand: ``python -m tests.fuzz --minutes 10``.

Every parser of the pack has a row in :mod:`.parsers`: how a hostile file is made for it, and how it is read. A good
file is changed where it matters (:mod:`.mutations`): fields of JSON, shapes and types of tensors, operations of
pickles, tags of MATLAB files, columns of tables; and in its bytes. :mod:`.trial` reads it and says what was wrong.

``tests/unit/test_fuzz.py`` draws the changes by number, the same on every machine; the command has Hypothesis draw them
(:mod:`.search`), which goes on from what it found before.
"""
