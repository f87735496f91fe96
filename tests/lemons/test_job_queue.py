"""The queue: one job after the other, equal ones once, and a worker that never dies."""

import threading
import time

import pytest

from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.job_queue import SECONDS_UNASKED, Jobs


@pytest.fixture
def jobs():
    made = Jobs(capacity=3, num_kept=4)
    yield made
    made.close(0.1)


def state_of(jobs, key, wanted):
    end = time.monotonic() + 60
    while (job := jobs.get(key)) is None or job.state != wanted:
        assert time.monotonic() < end, job
        time.sleep(0.005)
    return job


def test_jobs_show_the_progress_of_their_work(jobs):
    go, seen = threading.Event(), threading.Event()

    def work(report):
        report(2, 5)
        seen.set()
        assert go.wait(60)

    jobs.submit("a", work)
    assert seen.wait(60)
    job = jobs.get("a")
    assert (job.state, job.done, job.total) == ("running", 2, 5)
    go.set()
    state_of(jobs, "a", "done")


def test_equal_requests_are_one_job(jobs):
    go, count = threading.Event(), []

    def work(report):
        count.append(1)
        go.wait(60)

    for _ in range(5):
        jobs.submit("a", work)
    go.set()
    state_of(jobs, "a", "done")
    assert len(count) == 1
    jobs.submit("a", work)
    end = time.monotonic() + 60
    while len(count) < 2:
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_queue_refuses_further_jobs(jobs):
    go = threading.Event()
    jobs.submit("running", lambda report: go.wait(60))
    state_of(jobs, "running", "running")
    places = [jobs.submit(key, lambda report: None).position for key in "abc"]
    assert places == [1, 2, 3]
    with pytest.raises(HttpError, match="too much to do") as refused:
        jobs.submit("d", lambda report: None)
    assert refused.value.status == 503
    assert jobs.submit("b", lambda report: None).position == 2, "what is queued is no further load"
    go.set()
    state_of(jobs, "c", "done")


def test_jobs_that_nobody_asks_about_leave_the_queue(jobs):
    jobs._num_kept = 9
    go, ran = threading.Event(), []
    jobs.submit("running", lambda report: go.wait(60))
    state_of(jobs, "running", "running")
    jobs.submit("wanted", lambda report: ran.append("wanted"), is_wanted=True)
    for key in "ab":
        jobs.submit(key, lambda report, key=key: ran.append(key))
    for key in ("a", "b"):
        jobs._last_asked[key] -= 2 * SECONDS_UNASKED
    jobs.get("b")
    jobs.submit("c", lambda report: ran.append("c"))
    assert "ask again" in jobs.get("a").error
    go.set()
    state_of(jobs, "c", "done")
    assert ran == ["wanted", "b", "c"]


def test_a_job_refused_a_second_time_is_forgotten_like_others(jobs):
    jobs._num_kept = 5
    jobs.submit("again", lambda report: None)
    state_of(jobs, "again", "done")
    go = threading.Event()
    jobs.submit("running", lambda report: go.wait(60))
    state_of(jobs, "running", "running")
    for key in "abc":
        jobs.submit(key, lambda report: None)
    with pytest.raises(HttpError, match="too much to do"):
        jobs.submit("again", lambda report: None)
    go.set()
    state_of(jobs, "c", "done")
    for key in "defgh":
        jobs.submit(key, lambda report: None)
        state_of(jobs, key, "done")
    assert jobs.get("again") is None


def test_a_dropped_job_that_is_asked_for_again_is_done_once(jobs):
    go, ran = threading.Event(), []
    jobs.submit("running", lambda report: go.wait(60))
    state_of(jobs, "running", "running")
    jobs.submit("a", lambda report: ran.append("a"))
    jobs._last_asked["a"] -= 2 * SECONDS_UNASKED
    jobs.submit("a", lambda report: ran.append("a"))
    go.set()
    jobs.submit("last", lambda report: None)
    state_of(jobs, "last", "done")
    assert ran == ["a"]


def test_a_failed_job_has_an_error_of_one_sentence(jobs, caplog):
    def broken(report):
        raise RuntimeError("/secret/path")

    def refusing(report):
        raise HttpError(422, "That cannot be.")

    jobs.submit("a", broken)
    job = state_of(jobs, "a", "failed")
    assert job.error == "This failed inside the server; its terminal says why."
    assert "/secret/path" in caplog.text
    jobs.submit("b", refusing)
    assert state_of(jobs, "b", "failed").error == "That cannot be."
    jobs.submit("a", lambda report: None)
    assert state_of(jobs, "a", "done").error == ""


def test_old_jobs_are_forgotten(jobs):
    for number in range(8):
        jobs.submit(str(number), lambda report: None)
        state_of(jobs, str(number), "done")
    assert jobs.get("0") is None and jobs.get("7") is not None


def test_closing_ends_work_at_its_next_step():
    jobs, started = Jobs(), threading.Event()

    def endless(report):
        while True:
            report(0, 1)
            started.set()
            time.sleep(0.005)

    jobs.submit("a", endless)
    assert started.wait(60)
    assert jobs.close()
    assert jobs.get("a").error == "The server was stopped."


def test_closing_waits_no_longer_than_asked():
    jobs, go, started = Jobs(), threading.Event(), threading.Event()
    jobs.submit("a", lambda report: (started.set(), go.wait(60)))
    assert started.wait(60)
    assert not jobs.close(0.05)
    go.set()
    assert jobs.close()
