"""What the demo refuses, and what it warns of, before it starts a server."""

import pytest
from PIL import Image

import iqa
from iqa_adapter.pictures.reading import read_picture
from iqa_adapter.quickstart.world import unknown_words


@pytest.mark.parametrize("content", [None, b"# no picture", "truncated"])
def test_what_is_no_picture_is_refused_before_work_starts(content, tmp_path, capsys):
    file = tmp_path / "reference.png"
    if content == "truncated":
        Image.effect_noise((64, 64), 50).save(file)
        content = file.read_bytes()[:1000]
    if content is not None:
        file.write_bytes(content)
    output = tmp_path / "output"
    assert iqa.main(["demo", "--reference", str(file), "--output", str(output)]) == 1
    assert str(file) in capsys.readouterr().err
    assert not output.exists()


def test_a_picture_is_readable(tmp_path):
    file = tmp_path / "odd.png"
    Image.new("L", (37, 501)).save(file)
    assert read_picture(file).shape == (501, 37, 3)


def test_words_that_the_model_has_never_learnt_are_named_once():
    assert unknown_words("A (dotted:1.4) red Dragon on a dragon's lair, teal stripes") == ["dragon", "s", "lair"]
    assert unknown_words("a dotted pink ring on teal stripes") == []
