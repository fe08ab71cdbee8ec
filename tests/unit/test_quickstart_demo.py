"""What the demo refuses, and what it warns of, before it starts a server."""

import sys

import pytest
from PIL import Image

from iqa_adapter.quickstart import demo


@pytest.mark.parametrize("content", [None, b"# no picture", "truncated"])
def test_what_is_no_picture_is_refused_before_work_starts(content, tmp_path, monkeypatch, capsys):
    file = tmp_path / "reference.png"
    if content == "truncated":
        Image.effect_noise((64, 64), 50).save(file)
        content = file.read_bytes()[:1000]
    if content is not None:
        file.write_bytes(content)
    output = tmp_path / "output"
    monkeypatch.setattr(sys, "argv", ["demo", "--reference", str(file), "--output", str(output)])
    with pytest.raises(SystemExit) as stopped:
        demo.main()
    assert stopped.value.code == 2
    assert str(file) in capsys.readouterr().err
    assert not output.exists()


def test_a_picture_is_readable(tmp_path):
    file = tmp_path / "odd.png"
    Image.new("L", (37, 501)).save(file)
    assert demo.readable(file)


def test_words_that_the_model_has_never_met_are_named_once():
    assert demo.strange_words("A (dotted:1.4) red Dragon on a dragon's lair, teal stripes") == ["dragon", "s", "lair"]
    assert demo.strange_words("a dotted pink ring on teal stripes") == []
