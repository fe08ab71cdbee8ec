"""Processes that share work by claims: every part is done once, and a dead one's part is done by another."""

import socket
import subprocess
import sys
import threading
import time

import pytest

from iqa_adapter.training import claims
from iqa_adapter.training.claims import Claim


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.05)
    monkeypatch.setattr(claims, "SILENCE", 0.5)


def test_one_of_many_gets_a_claim(tmp_path):
    start, won = threading.Barrier(8), []

    def ask():
        claim = Claim(tmp_path / "a.lock")
        start.wait()
        for _ in range(20):
            if claim.take():
                won.append(claim)
                return

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (claim,) = won
    assert claim.is_mine() and socket.gethostname() in claim.holder
    claim.release()
    assert list(tmp_path.iterdir()) == [] and Claim(tmp_path / "a.lock").take()


def write_as_another_machine(path, beat=0):
    path.write_text(f"elsewhere 1 another-start:1 0123456789abcdef {beat}")


def test_a_silent_holder_loses_its_claim_and_one_that_beats_keeps_it(tmp_path):
    path, claim = tmp_path / "a.lock", Claim(tmp_path / "a.lock")
    end = time.monotonic() + 1.2
    beat = 0
    while time.monotonic() < end:
        write_as_another_machine(path, beat := beat + 1)
        assert not claim.take()
        time.sleep(0.1)
    while not claim.take():
        assert time.monotonic() < end + 2
        time.sleep(0.05)
    assert time.monotonic() > end + 0.4 and claim.is_mine()
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_of_this_machine_loses_its_claim_at_once(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    path = tmp_path / "a.lock"
    path.write_text(f"{socket.gethostname()} {gone.pid} {claims._where()} 0123456789abcdef 7")
    assert Claim(path).take()


def test_a_holder_that_slept_too_long_knows(tmp_path):
    path, mine, other = tmp_path / "a.lock", Claim(tmp_path / "a.lock"), Claim(tmp_path / "a.lock")
    assert mine.take()
    write_as_another_machine(path)  # who took it while this one slept
    assert not mine.is_mine() and not other.take()
    mine.release()
    assert path.read_text().startswith("elsewhere")


def test_a_holder_that_beats_has_its_claim_all_the_while(tmp_path):
    """Whoever reads between two beats, or within one, finds it."""
    claim, is_over = Claim(tmp_path / "a.lock"), threading.Event()
    assert claim.take()

    def beat():
        number = 0
        while not is_over.is_set():
            claim.beat(number := number + 1)

    beating = threading.Thread(target=beat)
    beating.start()
    try:
        assert all(claim.is_mine() for _ in range(3000))
    finally:
        is_over.set()
        beating.join()
    claim.release()
    assert list(tmp_path.iterdir()) == []


def test_a_part_whose_claim_was_lost_is_not_done(tmp_path):
    work, numbers = claims.Work(tmp_path, [0]).parts(), []
    number, may_write = next(work)
    assert may_write()
    write_as_another_machine(tmp_path / "000000.lock")  # which took it while this process slept, and then died
    assert not may_write()
    numbers += [part for part, _ in work]
    assert number == 0 and numbers == [0] and [path.name for path in tmp_path.iterdir()] == ["000000.done"]


WORKER = """
import importlib.util, os, sys, time
spec = importlib.util.spec_from_file_location("claims", sys.argv[1])
claims = importlib.util.module_from_spec(spec)
spec.loader.exec_module(claims)
folder, first, name, die_at = claims.Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
for part, may_write in claims.Work(folder, range(12), first).parts():
    if part == die_at:
        os._exit(9)
    time.sleep(0.1)
    assert may_write()
    with open(folder / f"part-{part}", "a") as file:
        file.write(name)
"""


def test_every_part_is_done_once_and_those_of_a_killed_process_by_others(tmp_path):
    arguments = [("0", "a", "-1"), ("4", "b", "6"), ("8", "c", "-1")]
    running = [subprocess.Popen([sys.executable, "-c", WORKER, claims.__file__, str(tmp_path), *chosen])
               for chosen in arguments]  # fmt: skip
    assert running[1].wait(60) == 9  # and it is gone
    assert running[0].wait(60) == running[2].wait(60) == 0
    done = {path.name: path.read_text() for path in tmp_path.glob("part-*")}
    assert len(done) == 12 and all(len(text) == 1 for text in done.values()) and done["part-6"] in "ac"
    assert not list(tmp_path.glob("*.lock"))
