import pytest

from benchmarks import startup


@pytest.mark.parametrize("own, status", [(0.29, 0), (0.31, 1)])
def test_says_with_its_exit_status_whether_the_pack_starts_fast_enough(own, status, monkeypatch, capsys):
    packs = []
    monkeypatch.setattr(startup, "seconds", lambda pack: packs.append(pack) or (own if len(packs) % 2 else 0.1))
    assert startup.main() == status
    assert f"adds {own - 0.1:.2f} s" in capsys.readouterr().out
    assert len(packs) == 14
