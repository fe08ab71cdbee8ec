"""Where the pictures of a training are: the list of folders, and what the two inputs name together."""

import os
import time

import folder_paths
import pytest

from iqa_adapter.nodes.picture_folders import AS_WRITTEN, checked_folder, chosen_folder, folder_input
from iqa_adapter.pictures import choices


def put(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path))
    return tmp_path


def test_folders_with_pictures_or_shards_are_listed_with_those_around_them(tmp_path):
    put(tmp_path, "loose.png", "photos/cat.JPG", "set/train/0.tar", "set/test/a.parquet", "texts/a.txt")
    put(tmp_path, "tables/metadata.parquet", ".hidden/a.png", "photos/.ipynb_checkpoints/cat.png")
    (tmp_path / "empty").mkdir()
    expected = ["photos", "set", "set/test", "set/train"]
    assert choices.folders_with_pictures(tmp_path) == expected


def test_links_are_followed_and_loops_are_not(tmp_path):
    put(tmp_path, "elsewhere/a.webp", "input/photos/a.png")
    (tmp_path / "input" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "input" / "photos" / "again").symlink_to(tmp_path / "input")
    (tmp_path / "input" / "nothing").symlink_to(tmp_path / "gone")
    assert choices.folders_with_pictures(tmp_path / "input") == ["linked", "photos"]


def test_names_that_are_no_text_and_folders_far_below_are_left_out(tmp_path):
    put(tmp_path, "1/2/3/4/5/a.png", "b/a.png")
    os.mkdir(os.fsencode(tmp_path) + b"/\xff")
    assert choices.folders_with_pictures(tmp_path) == ["b"]
    put(tmp_path, "1/2/3/4/a.png")
    assert choices.folders_with_pictures(tmp_path) == ["1", "1/2", "1/2/3", "1/2/3/4", "b"]


def test_a_folder_is_read_again_only_when_it_has_changed(tmp_path):
    put(tmp_path, *(f"many/{number:05d}.png" for number in range(3000)))
    choices.folders_with_pictures(tmp_path)
    before = choices._content.cache_info().misses
    assert choices.folders_with_pictures(tmp_path) == ["many"]
    assert choices._content.cache_info().misses == before
    time.sleep(0.02)  # the clock of the file system
    put(tmp_path, "many/new/a.png")
    assert choices.folders_with_pictures(tmp_path) == ["many", "many/new"]


def test_a_root_that_is_not_there_holds_nothing(tmp_path):
    assert choices.folders_with_pictures(tmp_path / "none") == []


def test_a_path_as_ever_or_a_folder_of_the_list(inputs, tmp_path):
    put(inputs, "photos/a.png")
    assert folder_input().options == [AS_WRITTEN, "photos"]
    assert chosen_folder("photos") == chosen_folder("", "photos") == chosen_folder("photos", "photos")
    assert chosen_folder(" /data/x ") == tmp_path.__class__("/data/x")
    assert checked_folder("no such", AS_WRITTEN) is True  # what is wrong with a path is said when it is read


@pytest.mark.parametrize(
    ("pictures", "folder", "message"),
    [
        (" ", AS_WRITTEN, "No folder of pictures is chosen. It may lie in ComfyUI's input folder, .*: choose one in"),
        ("/data", "photos", "pictures says /data, but folder says photos: empty pictures, or set folder to 'as in"),
        ("", "deleted", "There is no folder deleted in ComfyUI's input folder any more; choose another in folder."),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(inputs, pictures, folder, message):
    put(inputs, "photos/a.png")
    answer = checked_folder(pictures, folder)
    assert isinstance(answer, str) and "\n" not in answer
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(answer)


def test_an_input_folder_without_pictures_says_so(inputs):
    answer = checked_folder("", AS_WRITTEN)
    assert "put one there (so far it holds none with pictures)" in answer and str(inputs) in answer


def test_pictures_that_another_node_names_are_its_business(inputs):
    assert checked_folder(None, AS_WRITTEN) is True
