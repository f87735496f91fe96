"""The worker: one thing after the other, equal ones once, and never dead."""

import threading
import time

import pytest

from lime_jax.lemons.http_error import HttpError
from lime_jax.lemons.job_queue import SECONDS_UNASKED, Jobs
from lime_jax.lemons.memory_cache import MemoryCache
from lime_jax.lemons.result_cache import Results, key_of


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

    def work(tell):
        tell(2, 5)
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
    work = lambda tell: (count.append(1), go.wait(60))
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
    jobs.submit("running", lambda tell: go.wait(60))
    state_of(jobs, "running", "running")
    places = [jobs.submit(key, lambda tell: None).position for key in "abc"]
    assert places == [1, 2, 3]
    with pytest.raises(HttpError, match="too much to do") as refused:
        jobs.submit("d", lambda tell: None)
    assert refused.value.status == 503
    assert jobs.submit("b", lambda tell: None).position == 2, "what is queued is no further load"
    go.set()
    state_of(jobs, "c", "done")


def test_jobs_that_nobody_asks_about_leave_the_queue(jobs):
    jobs._num_kept = 9
    go, ran = threading.Event(), []
    jobs.submit("running", lambda tell: go.wait(60))
    state_of(jobs, "running", "running")
    jobs.submit("wanted", lambda tell: ran.append("wanted"), is_wanted=True)
    for key in "ab":
        jobs.submit(key, lambda tell, key=key: ran.append(key))
    for key in ("a", "b"):
        jobs._last_asked[key] -= 2 * SECONDS_UNASKED
    jobs.get("b")
    jobs.submit("c", lambda tell: ran.append("c"))
    assert "ask again" in jobs.get("a").error
    go.set()
    state_of(jobs, "c", "done")
    assert ran == ["wanted", "b", "c"]


def test_a_job_refused_a_second_time_is_forgotten_like_others(jobs):
    jobs._num_kept = 5
    jobs.submit("again", lambda tell: None)
    state_of(jobs, "again", "done")
    go = threading.Event()
    jobs.submit("running", lambda tell: go.wait(60))
    state_of(jobs, "running", "running")
    for key in "abc":
        jobs.submit(key, lambda tell: None)
    with pytest.raises(HttpError, match="too much to do"):
        jobs.submit("again", lambda tell: None)
    go.set()
    state_of(jobs, "c", "done")
    for key in "defgh":
        jobs.submit(key, lambda tell: None)
        state_of(jobs, key, "done")
    assert jobs.get("again") is None


def test_a_dropped_job_that_is_asked_for_again_is_done_once(jobs):
    go, ran = threading.Event(), []
    jobs.submit("running", lambda tell: go.wait(60))
    state_of(jobs, "running", "running")
    jobs.submit("a", lambda tell: ran.append("a"))
    jobs._last_asked["a"] -= 2 * SECONDS_UNASKED
    jobs.submit("a", lambda tell: ran.append("a"))
    go.set()
    jobs.submit("last", lambda tell: None)
    state_of(jobs, "last", "done")
    assert ran == ["a"]


def test_a_failed_job_has_an_error_of_one_sentence(jobs, caplog):
    def broken(tell):
        raise RuntimeError("/secret/path")

    def refusing(tell):
        raise HttpError(422, "That cannot be.")

    jobs.submit("a", broken)
    job = state_of(jobs, "a", "failed")
    assert job.error == "This failed inside the server; its terminal says why."
    assert "/secret/path" in caplog.text
    jobs.submit("b", refusing)
    assert state_of(jobs, "b", "failed").error == "That cannot be."
    jobs.submit("a", lambda tell: None)
    assert state_of(jobs, "a", "done").error == ""


def test_old_jobs_are_forgotten(jobs):
    for number in range(8):
        jobs.submit(str(number), lambda tell: None)
        state_of(jobs, str(number), "done")
    assert jobs.get("0") is None and jobs.get("7") is not None


def test_closing_ends_work_at_its_next_step():
    jobs, started = Jobs(), threading.Event()

    def endless(tell):
        while True:
            tell(0, 1)
            started.set()
            time.sleep(0.005)

    jobs.submit("a", endless)
    assert started.wait(60)
    assert jobs.close()
    assert jobs.get("a").error == "The server was stopped."


def test_closing_waits_no_longer_than_asked():
    jobs, go, started = Jobs(), threading.Event(), threading.Event()
    jobs.submit("a", lambda tell: (started.set(), go.wait(60)))
    assert started.wait(60)
    assert not jobs.close(0.05)
    go.set()
    assert jobs.close()


def test_results_on_disk_outlive_those_in_memory(tmp_path):
    results = Results(tmp_path, num_in_memory=2)
    keys = [key_of("k", number) for number in range(4)]
    for number, key in enumerate(keys):
        results.put(key, {"number": number}, on_disk=number != 1)
    assert [results.get(key) for key in keys] == [{"number": 0}, None, {"number": 2}, {"number": 3}]
    assert not list(tmp_path.rglob("*.partial"))


def test_results_about_an_upload_are_dropped_with_it(tmp_path):
    results = Results(tmp_path)
    for number, owner in enumerate((None, "one", "two")):
        results.put(key_of(number), {}, on_disk=False, owner=owner)
    results.retain({"two"})
    assert [results.get(key_of(number)) for number in range(3)] == [{}, None, {}]


def test_a_memory_cache_is_bounded_by_bytes():
    kept, made = MemoryCache(len, num_bytes=10), []
    make = lambda: made.append(1) or b"1234"
    for key in "abac":  # the third is known
        assert kept.get(key, make, owner="one" if key == "a" else None) == b"1234"
    assert len(made) == 3
    kept.get("a", make, "one")
    assert len(made) == 3, "the latest stay"
    kept.get("b", make)
    assert len(made) == 4, "the oldest went"
    kept.get("a", make, "one")
    kept.retain(set())
    before = len(made)
    kept.get("a", make, "one")
    assert len(made) == before + 1
    kept.get("large", lambda: bytes(11))
    assert kept.get("large", lambda: b"") == b""


@pytest.mark.parametrize("key", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n"])
def test_keys_other_than_digests_have_no_results(tmp_path, key):
    assert Results(tmp_path).get(key) is None


def test_keys_depend_on_where_values_end():
    assert key_of("ab", "c") != key_of("a", "bc")
