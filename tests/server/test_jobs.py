"""Jobs: begun by one request, asked about by others, bounded, and never left running for nobody."""

import threading
import time

import pytest

from lit_plugins.errors import InputError
from lit_plugins.server import jobs as jobs_module
from lit_plugins.server.jobs import Busy, Jobs, Unknown

LONG = 30.0  # seconds that no test waits unless something is wrong


class Loop:
    """Work that goes on until it is stopped, one pass at a time."""

    def __init__(self, expected=0):
        self.release, self.stopped = threading.Event(), threading.Event()
        self.passes = 0
        self._expected = expected

    def __call__(self, watch):
        watch.expected = self._expected
        try:
            while not self.release.wait(0.005):
                self.passes += 1
                watch.tick(1)
        finally:
            self.stopped.set()
        return "released"


class Stuck:
    """Work in the midst of a batch: it hears of nothing until it is released."""

    def __init__(self):
        self.release = threading.Event()

    def __call__(self, watch):
        assert self.release.wait(LONG)
        watch.check()
        return "released"


@pytest.fixture
def loop():
    made = Loop(expected=3)
    yield made
    made.release.set()


@pytest.fixture
def stuck():
    made = Stuck()
    yield made
    made.release.set()


def eventually(condition, seconds=LONG):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError("It never came true.")


def test_what_is_done_soon_is_told_at_once():
    told = Jobs(wait=LONG).start(lambda watch: [1, watch.tick(2, 1)])
    assert (told["state"], told["result"], told["error"]) == ("done", [1, None], None)
    assert (told["done"], told["expected"]) == (3, 3)


def test_a_request_waits_for_the_end_and_no_longer(stuck):
    jobs = Jobs(wait=0)
    told = jobs.start(stuck)
    assert told["state"] == "running"
    begin = time.monotonic()
    jobs._wait = 0.2
    assert jobs.look(told["id"])["state"] == "running"
    assert time.monotonic() - begin >= 0.2
    jobs._wait = LONG
    threading.Timer(0.2, stuck.release.set).start()
    assert jobs.look(told["id"])["result"] == "released"
    assert time.monotonic() - begin < LONG / 2
    assert jobs.look(told["id"])["seconds"] >= 0.2


def test_progress_grows_and_time_with_it(loop):
    jobs = Jobs(wait=0.05)
    told = [jobs.start(loop)]
    told += [jobs.look(told[0]["id"]) for _ in range(4)]
    assert [one["done"] for one in told] == sorted({one["done"] for one in told})
    assert [one["seconds"] for one in told] == sorted({one["seconds"] for one in told})
    assert all(one["expected"] >= max(3, one["done"]) for one in told)


def test_cancel_stops_before_the_next_pass_and_says_so_at_once(loop):
    jobs = Jobs(wait=0)
    identity = jobs.start(loop)["id"]
    eventually(lambda: loop.passes > 2)
    told = jobs.cancel(identity)
    assert (told["state"], told["result"], told["error"]) == ("cancelled", None, None)
    assert loop.stopped.wait(LONG)
    assert loop.passes <= told["done"] + 1
    assert jobs.look(identity)["state"] == "cancelled"


def test_what_ends_after_it_was_cancelled_stays_cancelled(stuck):
    jobs = Jobs(wait=0)
    told = jobs.start(stuck)
    jobs.cancel(told["id"])
    stuck.release.set()
    eventually(lambda: not jobs._jobs[told["id"]].working)
    assert jobs.look(told["id"])["state"] == "cancelled"


def test_what_has_ended_is_not_cancelled():
    jobs = Jobs(wait=LONG)
    told = jobs.start(lambda watch: "x")
    assert jobs.cancel(told["id"]) == told


def test_a_failure_is_one_line_and_the_next_job_works(caplog):
    jobs = Jobs(wait=LONG)

    def wrong(watch):
        raise InputError("The prompt has 9 tokens;\nat most 8 fit.")

    def defect(watch):
        raise ZeroDivisionError("secret <b>path</b> /home/somebody")

    told = jobs.start(wrong)
    assert (told["state"], told["result"]) == ("failed", None)
    assert told["error"] == "The prompt has 9 tokens; at most 8 fit."
    told = jobs.start(defect)
    assert told["state"] == "failed"
    assert "secret" not in told["error"]
    reference = told["error"].split("reference ")[1].split(")")[0]
    assert reference in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert jobs.start(lambda watch: "fine")["result"] == "fine"


def test_only_so_many_at_a_time():
    jobs = Jobs(wait=0)
    works = [Stuck() for _ in range(jobs_module.MOST)]
    identities = [jobs.start(work)["id"] for work in works]
    with pytest.raises(Busy, match="Try again"):
        jobs.start(lambda watch: None)
    # Its thread is still at work: another would make one too many.
    jobs.cancel(identities[0])
    with pytest.raises(Busy):
        jobs.start(lambda watch: None)
    works[0].release.set()
    eventually(lambda: not jobs._jobs[identities[0]].working)
    jobs._wait = LONG
    assert jobs.start(lambda watch: "fits")["result"] == "fits"
    for work in works:
        work.release.set()


def test_only_so_many_wait(stuck, monkeypatch):
    monkeypatch.setattr(jobs_module, "MOST_WAITING", 1)
    jobs = Jobs(wait=0)
    identity = jobs.start(stuck)["id"]
    jobs._wait = LONG
    waiting = threading.Thread(target=jobs.look, args=(identity,))
    waiting.start()
    eventually(lambda: jobs._waiting)
    begin = time.monotonic()
    assert jobs.look(identity)["state"] == "running"
    assert time.monotonic() - begin < LONG / 2
    stuck.release.set()
    waiting.join()


def test_a_job_that_nobody_asks_about_is_cancelled_and_forgotten(loop):
    jobs = Jobs(wait=0, gone=0.1, kept=0.1)
    identity = jobs.start(loop)["id"]
    assert loop.stopped.wait(LONG)
    eventually(lambda: not jobs._jobs)
    with pytest.raises(Unknown, match="no job"):
        jobs.look(identity)
    # The thread that forgets them has ended, and another begins with the next job.
    eventually(lambda: not jobs._sweeping)
    again = Loop()
    jobs.start(again)
    assert again.stopped.wait(LONG)


def test_a_job_that_somebody_asks_about_goes_on(loop):
    jobs = Jobs(wait=0, gone=1.5)
    identity = jobs.start(loop)["id"]
    end = time.monotonic() + 2.5
    while time.monotonic() < end:
        assert jobs.look(identity)["state"] == "running"
        time.sleep(0.05)
    assert loop.stopped.wait(LONG)  # and is cancelled once nobody does


def test_the_time_of_a_later_job_comes_first(loop):
    """A thread that waits for the end of one minute must see that another has less."""
    jobs = Jobs(wait=LONG, gone=0.1, kept=LONG)
    jobs.start(lambda watch: "kept for long")
    jobs._wait = 0
    jobs.start(loop)
    assert loop.stopped.wait(LONG / 2)


def test_of_many_results_the_last_are_kept(monkeypatch):
    monkeypatch.setattr(jobs_module, "MOST_KEPT", 3)
    jobs = Jobs(wait=LONG)
    identities = [jobs.start(lambda watch, n=n: n)["id"] for n in range(8)]
    eventually(lambda: len(jobs._jobs) == 3)
    assert [jobs.look(identity)["result"] for identity in identities[-3:]] == [5, 6, 7]


def test_of_large_results_fewer_are_kept(monkeypatch):
    monkeypatch.setattr(jobs_module, "MOST_SIZE", 10)
    jobs = Jobs(wait=LONG, size=lambda result: result)
    identities = [jobs.start(lambda watch, n=n: n)["id"] for n in (4, 4, 1, 6)]
    eventually(lambda: len(jobs._jobs) == 2)
    assert [jobs.look(identity)["result"] for identity in identities[-2:]] == [1, 6]


def test_all_are_stopped_with_the_server(loop):
    jobs = Jobs(wait=0)
    identity = jobs.start(loop)["id"]
    jobs.stop()
    assert loop.stopped.wait(LONG)
    assert jobs.look(identity)["state"] == "cancelled"


def test_a_thread_that_cannot_be_had_leaves_no_job(monkeypatch):
    def start(thread):
        raise RuntimeError("can't start new thread")

    jobs = Jobs(wait=0)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError):
            jobs.start(lambda watch: None)
    assert not jobs._jobs


def test_ids_cannot_be_guessed():
    jobs = Jobs(wait=0)
    identities = {jobs.start(lambda watch: None)["id"] for _ in range(5)}
    assert len(identities) == 5
    assert all(len(identity) == 32 for identity in identities)
