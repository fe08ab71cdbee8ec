"""A workflow names ComfyUI's own folders, others while nobody else reaches it, and what the person there allows."""

import os
from pathlib import Path

import folder_paths
import pytest
from comfy.cli_args import args

from iqa_adapter.nodes import allowed_folders
from iqa_adapter.nodes.allowed_folders import KEY, VARIABLE, allowed_folder, is_local
from iqa_adapter.nodes.features import IQASaveFeatures
from iqa_adapter.nodes.picture_folders import AS_WRITTEN, checked_folder, chosen_folder
from iqa_adapter.training.names import check_prefix


@pytest.fixture(autouse=True)
def inputs(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    monkeypatch.delenv(VARIABLE, raising=False)
    (tmp_path / "input" / "set").mkdir(parents=True)
    return tmp_path / "input"


@pytest.fixture(params=["0.0.0.0,::", "192.168.0.7", "127.0.0.1,10.0.0.1", "my-machine"])
def listening(request, monkeypatch):
    """To other machines."""
    monkeypatch.setattr(args, "listen", request.param)


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1", "localhost", "127.0.0.1,::1", "127.9.9.9", "[::1]"])
def test_addresses_of_this_machine(listen):
    assert is_local(listen)


def test_folders_of_this_machine_are_usable_while_it_is_alone(tmp_path, inputs):
    assert chosen_folder("set") == inputs / "set"
    assert chosen_folder(str(tmp_path / "photos")) == tmp_path / "photos"
    assert chosen_folder("~/photos") == Path.home() / "photos"


def test_other_folders_need_a_word_when_it_is_not_alone(listening, tmp_path, inputs, monkeypatch):
    assert chosen_folder("set") == inputs / "set" and chosen_folder("", "set") == inputs / "set"
    assert allowed_folder(Path(folder_paths.get_output_directory()) / "iqa_tables" / "a")
    assert allowed_folder(Path(folder_paths.get_folder_paths("iqa_adapter")[0]) / "a")
    other = tmp_path / "photos"
    for written in (str(other), "../photos", "~/photos", "/etc", f"{inputs}/../photos", f"{inputs}_other"):
        with pytest.raises(ValueError, match=f"is outside ComfyUI's folders, .*--listen.*{VARIABLE}.*{KEY}"):
            chosen_folder(written)
    assert "is outside" in checked_folder("", "../photos")  # what no list has, but ComfyUI's API takes
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, os.pathsep.join(["/nowhere", str(other)]))
        assert chosen_folder(f"{other}/2024") == other / "2024"
        with pytest.raises(ValueError, match="is outside"):
            chosen_folder(f"{other}/../elsewhere")
    monkeypatch.setitem(folder_paths.folder_names_and_paths, KEY, ([str(other)], set()))
    assert chosen_folder(str(other)) == other


def test_code_of_packs_is_no_folder_of_pictures(listening):
    with pytest.raises(ValueError, match="is outside"):
        allowed_folder(folder_paths.get_folder_paths("custom_nodes")[0])


@pytest.mark.parametrize("written", ["~", "~/", "/", "..", "../../../../../../../.."])
def test_whole_disks_and_home_folders_are_not_searched(written, inputs, monkeypatch):
    monkeypatch.setenv("HOME", str(inputs.parent))
    with pytest.raises(ValueError, match="is a whole disk or home folder"):
        chosen_folder(written)


@pytest.mark.parametrize(
    "written", ["//server/share/photos", r"\\server\share", "\\\\?\\C:\\photos", r"/\server\a", r"\/server/a"]
)
def test_folders_of_other_machines_are_not_touched(written, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ValueError, match=f"is on another machine.*{VARIABLE}"):
        patch.setattr(os, "stat", lambda *_, **__: pytest.fail("touched"))
        chosen_folder(written)
    monkeypatch.setenv(VARIABLE, "//server/share" if written.startswith("//") else "\\\\server\\share")
    if written.startswith("//"):
        assert chosen_folder(written) == Path(os.path.abspath(written))


@pytest.mark.parametrize("written", ["photos\u202egnp", "photos\n", "a\x00b", "~nobody-of-that-name/photos"])
def test_hostile_names_of_folders(written):
    written = written if written[-1] != "\n" else f"a{written}b"  # blanks around a path are none of it
    with pytest.raises(ValueError, match="has control characters|no home folder") as refusal:
        chosen_folder(written)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    "prefix",
    ["a\u202eb", "a\nb", "con", "sub/nul.txt", "lpt1", "a:b", "a?", " a", "a.", "a\x1b[31m", "..\\a", "a" * 300],
)
def test_hostile_beginnings_of_file_names(prefix, monkeypatch):
    with pytest.raises(ValueError, match="cannot be part of a file's name") as refusal:
        IQASaveFeatures.execute(None, prefix)
    assert str(refusal.value).isprintable()
    for good in ("", "iqa_features/reference", "%date%/a", "a_%width%x%height%", "cache/a"):
        check_prefix(good)


def test_a_folder_that_is_chosen_twice_is_still_said(inputs):
    with pytest.raises(ValueError, match="empty pictures"):
        chosen_folder("other", "set")
    assert chosen_folder("set/../set", "set") == inputs / "set" and AS_WRITTEN
    assert allowed_folders._own()
