"""Shards: which part is whose, and locks that keep runs of a store apart."""

import contextlib
import subprocess
import sys

import pytest

from lime_jax.errors import StoreError
from lime_jax.runs.locks import hold_shard
from lime_jax.runs.shards import Shard, passed_over, shard_of

IDS = [f"song {number}.wav" for number in range(500)] + ["", "ü", "a" * 1000]


def slurm_array(index, count=8, first=None):
    """What Slurm tells a task of an array of jobs."""
    variables = {"SLURM_ARRAY_TASK_ID": f"{index}", "SLURM_ARRAY_TASK_COUNT": f"{count}"}
    lowest = {} if first is None else {"SLURM_ARRAY_TASK_MIN": f"{first}"}
    return {**variables, **lowest, "SLURM_ARRAY_JOB_ID": "4711", "SLURM_JOB_ID": "4720"}


def slurm_script(count=1):
    """What it tells the script of a job, which runs once whatever the number of tasks."""
    return {"SLURM_JOB_ID": "4711", "SLURM_PROCID": "0", "SLURM_NTASKS": f"{count}"}


def slurm_step(index, count):
    """What it tells a process that srun started."""
    return {
        **slurm_script(count),
        "SLURM_PROCID": f"{index}",
        "SLURM_STEP_NUM_TASKS": f"{count}",
    }


def kubernetes(index, count=None):
    """What an indexed job tells a container; the number of them only where it is asked to."""
    total = {} if count is None else {"JOB_COMPLETIONS": f"{count}"}
    return {"JOB_COMPLETION_INDEX": f"{index}", **total}


def mpi(index, count, system="OMPI_COMM_WORLD"):
    """What mpirun tells a process."""
    return {f"{system}_RANK": f"{index}", f"{system}_SIZE": f"{count}"}


OTHERS = {
    "HOME": "/root",
    "PATH": "/bin",
    "RANK": "3",
    "WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "1",
}

# `--shard`, the environment, and the shard: index, count and source.
SHARDS = {
    "nothing": (None, {}, (0, 1, "")),
    "other variables": (None, OTHERS, (0, 1, "")),
    "empty variables": (None, {"SLURM_ARRAY_TASK_ID": "", "JOB_COMPLETION_INDEX": ""}, (0, 1, "")),
    "first": ("0/4", {}, (0, 4, "--shard")),
    "last": ("3/4", {}, (3, 4, "--shard")),
    "all": ("0/1", {}, (0, 1, "--shard")),
    "two figures": ("10/11", {}, (10, 11, "--shard")),
    "leading zeros": ("03/08", {}, (3, 8, "--shard")),
    "given beside Slurm": ("1/3", slurm_array(5), (1, 3, "--shard")),
    "given beside Kubernetes": ("1/3", kubernetes(5), (1, 3, "--shard")),
    "array from 0": (None, slurm_array(3, first=0), (3, 8, "SLURM_ARRAY_TASK_ID")),
    "array from 1": (None, slurm_array(8, first=1), (7, 8, "SLURM_ARRAY_TASK_ID")),
    "array from 100": (None, slurm_array(100, first=100), (0, 8, "SLURM_ARRAY_TASK_ID")),
    "array without a lowest": (None, slurm_array(2), (2, 8, "SLURM_ARRAY_TASK_ID")),
    "array of one": (None, slurm_array(5, count=1, first=5), (0, 1, "SLURM_ARRAY_TASK_ID")),
    "auto in an array": ("auto/8", slurm_array(8, first=1), (7, 8, "SLURM_ARRAY_TASK_ID")),
    "auto with more": ("auto/9", slurm_array(8, first=1), (7, 9, "SLURM_ARRAY_TASK_ID")),
    "script": (None, slurm_script(), (0, 1, "")),
    "script of many tasks": (None, slurm_script(4), (0, 1, "")),
    "step": (None, slurm_step(2, 4), (2, 4, "SLURM_PROCID")),
    "step of one": (None, slurm_step(0, 1), (0, 1, "SLURM_PROCID")),
    "auto in a step": ("auto/4", slurm_step(2, 4), (2, 4, "SLURM_PROCID")),
    "step of an array": (
        None,
        {**slurm_step(0, 1), **slurm_array(6, first=1)},
        (5, 8, "SLURM_ARRAY_TASK_ID"),
    ),
    "steps of an array": (
        None,
        {**slurm_step(1, 4), **slurm_array(6, first=1)},
        (21, 32, "SLURM_ARRAY_TASK_ID and SLURM_PROCID"),
    ),
    "both from a step": ("auto", slurm_step(2, 4), (2, 4, "SLURM_PROCID")),
    "both from an array": ("auto", slurm_array(8, first=1), (7, 8, "SLURM_ARRAY_TASK_ID")),
    "both from Kubernetes": ("auto", kubernetes(2, 5), (2, 5, "JOB_COMPLETION_INDEX")),
    "both from Open MPI": ("auto", mpi(2, 5), (2, 5, "OMPI_COMM_WORLD_RANK")),
    "both from MPICH": ("auto", mpi(2, 5, "PMI"), (2, 5, "PMI_RANK")),
    "index from Open MPI": ("auto/6", mpi(2, 5), (2, 6, "OMPI_COMM_WORLD_RANK")),
    "Open MPI unasked": (None, mpi(2, 5), (0, 1, "")),
    "MPICH unasked": (None, mpi(2, 5, "PMI"), (0, 1, "")),
    "srun with a terminal": (None, {**slurm_step(0, 4), "SLURM_PTY_PORT": "4711"}, (0, 1, "")),
    "a terminal of srun in an array": (
        None,
        {**slurm_array(6, first=1), **slurm_step(0, 1), "SLURM_PTY_WIN_COL": "80"},
        (0, 1, ""),
    ),
    "a notebook in a step": (None, {**slurm_step(0, 4), "JPY_PARENT_PID": "7"}, (0, 1, "")),
    "asked for in a terminal": (
        "auto",
        {**slurm_step(0, 4), "SLURM_PTY_PORT": "4711"},
        (0, 4, "SLURM_PROCID"),
    ),
    "Kubernetes with count": (None, kubernetes(2, 5), (2, 5, "JOB_COMPLETION_INDEX")),
    "auto in Kubernetes": ("auto/5", kubernetes(2), (2, 5, "JOB_COMPLETION_INDEX")),
    "auto in Kubernetes with count": ("auto/6", kubernetes(2, 5), (2, 6, "JOB_COMPLETION_INDEX")),
}


@pytest.mark.parametrize("name", SHARDS)
def test_the_shard_comes_from_the_option_or_the_environment(name):
    text, environment, (index, count, source) = SHARDS[name]
    assert shard_of(text, environment) == Shard(index, count, source)


# What batch systems say, of which nothing counts where somebody types.
BATCHES = {
    "an array": slurm_array(3, first=0),
    "a step": slurm_step(2, 4),
    "steps of an array": {**slurm_step(1, 4), **slurm_array(6, first=1)},
    "an indexed job": kubernetes(2, 5),
    "an indexed job without count": kubernetes(2),
}


@pytest.mark.parametrize("name", BATCHES)
def test_whoever_types_does_everything_unless_a_shard_is_asked_for(name):
    """`srun -n4 --pty` explained a quarter of the data, with exit code 0."""
    environment = BATCHES[name]
    assert shard_of(None, environment, has_terminal=True) == Shard()
    assert "everything is done here" in passed_over(environment, has_terminal=True)
    assert passed_over(environment) is None
    asked = shard_of("auto/99", environment, has_terminal=True)
    assert asked == shard_of("auto/99", environment) and asked.count == 99


@pytest.mark.parametrize("environment", [{}, OTHERS, slurm_script(4), slurm_step(0, 1), mpi(1, 2)])
def test_nothing_is_said_where_there_is_nothing_to_share(environment):
    assert passed_over(environment, has_terminal=True) is None


ERRORS = {
    **{
        f"text {text!r}": (text, {}, f"`--shard` must be i/n, auto/n or auto, got {text!r}")
        for text in ("", "3", "auto/", "/", "/4", "1/", "a/4", "1/b", "-1/4", "1/-4", "1.0/4")
    },
    "text '1/4/8'": ("1/4/8", {}, "`--shard` must be i/n, auto/n or auto"),
    "text ' 1/4'": (" 1/4", {}, "`--shard` must be i/n, auto/n or auto"),
    "text 'AUTO/4'": ("AUTO/4", {}, "`--shard` must be i/n, auto/n or auto"),
    "index of the count": ("4/4", {}, "below the number of shards, got 4 of 4 from 4/4"),
    "no shards": ("0/0", {}, "below the number of shards, got 0 of 0"),
    "auto without a system": ("auto/4", {}, "finds no index: neither SLURM nor a Kubernetes"),
    "both without a system": ("auto", {}, "finds no index"),
    "both from Kubernetes without count": ("auto", kubernetes(2), "but not of how many"),
    "auto in a script": ("auto/4", slurm_script(4), "finds no index"),
    "auto with fewer": ("auto/2", kubernetes(2), "got 2 of 2 from auto/2"),
    "auto below the array": ("auto/4", slurm_array(7, first=1), "got 6 of 4 from auto/4"),
    "Kubernetes without count": (
        None,
        kubernetes(2),
        "JOB_COMPLETION_INDEX=2 says that this is one of several processes, but not of how many. "
        "Give `--shard auto/n`",
    ),
    "array with gaps": (
        None,
        slurm_array(14, first=0),
        "got 14 of 8 from SLURM_ARRAY_TASK_ID. Indices count from 0 without gaps",
    ),
    "array below its lowest": (None, slurm_array(0, first=1), "got -1 of 8"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_shards_that_do_not_exist_are_refused(name):
    text, environment, message = ERRORS[name]
    with pytest.raises(ValueError) as caught:
        shard_of(text, environment)
    assert message in str(caught.value)


class TestParts:
    @pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 100])
    def test_every_id_is_in_one_shard(self, count):
        shards = [Shard(index, count) for index in range(count)]
        for id in IDS[-100:]:
            assert sum(shard.has(id) for shard in shards) == 1

    def test_one_shard_has_everything(self):
        assert all(Shard().has(id) for id in IDS)

    @pytest.mark.parametrize("count", [2, 3, 8])
    def test_shards_are_of_about_one_size(self, count):
        sizes = [sum(Shard(index, count).has(id) for id in IDS) for index in range(count)]
        assert min(sizes) > 0.7 * len(IDS) / count and max(sizes) < 1.4 * len(IDS) / count

    def test_shards_of_twice_as_many_are_parts_of_shards(self):
        for id in IDS:
            [index] = [index for index in range(8) if Shard(index, 8).has(id)]
            assert Shard(index % 4, 4).has(id) and Shard(index % 2, 2).has(id)

    def test_an_id_stays_where_it_is(self):
        # Runs that go on after an update, or on another machine, must not meet.
        known = {
            "song 0.wav": 426,
            "song 1.wav": 373,
            "song 2.wav": 283,
            "train/A - B": 672,
            "007": 296,
            "ü": 458,
        }
        for id, index in known.items():
            assert [i for i in range(1000) if Shard(i, 1000).has(id)] == [index]


def conflict(folder, shard):
    """The reason why a shard cannot be held now."""
    with pytest.raises(StoreError) as caught, hold_shard(folder, shard):
        pass
    return str(caught.value)


def is_free(folder, shard):
    """Whether a shard can be held now."""
    with contextlib.suppress(StoreError), hold_shard(folder, shard):
        return True
    return False


# A shard that is held, one that is wanted, and whether they may run side by side.
PAIRS = {
    "the same": (Shard(0, 1), Shard(0, 1), False),
    "the same of several": (Shard(2, 4), Shard(2, 4), False),
    "from elsewhere": (Shard(2, 4, "--shard"), Shard(2, 4, "SLURM_PROCID"), False),
    "all and a part": (Shard(0, 1), Shard(0, 2), False),
    "all and another part": (Shard(0, 1), Shard(1, 2), False),
    "a part and all": (Shard(1, 2), Shard(0, 1), False),
    "other splits": (Shard(0, 2), Shard(1, 3), False),
    "splits of like names": (Shard(1, 12), Shard(0, 2), False),
    "neighbours": (Shard(0, 2), Shard(1, 2), True),
    "like names": (Shard(1, 12), Shard(11, 12), True),
}


class TestLocks:
    @pytest.mark.parametrize("name", PAIRS)
    def test_other_shards_of_one_split_run_side_by_side(self, tmp_path, name):
        first, second, may = PAIRS[name]
        with hold_shard(tmp_path, first):
            if may:
                with hold_shard(tmp_path, second):
                    assert not is_free(tmp_path, first) and not is_free(tmp_path, second)
            else:
                reason = conflict(tmp_path, second)
                assert f"`{tmp_path}` is in use by another run" in reason
                assert f"({first.index}-of-{first.count})" in reason
                assert "must all be i/n of the same n" in reason
        assert is_free(tmp_path, second)

    def test_all_shards_of_a_split_run_side_by_side(self, tmp_path):
        with contextlib.ExitStack() as stack:
            for index in range(8):
                stack.enter_context(hold_shard(tmp_path, Shard(index, 8)))
            assert not any(is_free(tmp_path, Shard(index, 8)) for index in range(8))
            assert not is_free(tmp_path, Shard(0, 1))
        assert is_free(tmp_path, Shard(0, 1))

    def test_a_refused_run_holds_nothing(self, tmp_path):
        with hold_shard(tmp_path, Shard(0, 2)):
            conflict(tmp_path, Shard(0, 3))
            conflict(tmp_path, Shard(0, 1))
            assert is_free(tmp_path, Shard(1, 2))
        assert is_free(tmp_path, Shard(0, 3)) and is_free(tmp_path, Shard(0, 1))

    def test_a_refusal_leaves_the_lock_to_its_holder(self, tmp_path):
        with hold_shard(tmp_path, Shard(0, 2)):
            for _ in range(3):
                conflict(tmp_path, Shard(0, 2))
                conflict(tmp_path, Shard(1, 3))

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, StoreError])
    def test_an_error_lets_go_and_is_passed_on(self, tmp_path, error):
        with pytest.raises(error, match="inside"), hold_shard(tmp_path, Shard(0, 2)):
            raise error("inside")
        assert is_free(tmp_path, Shard(0, 2)) and is_free(tmp_path, Shard(0, 1))

    def test_other_stores_are_other_locks(self, tmp_path):
        with hold_shard(tmp_path / "a", Shard()), hold_shard(tmp_path / "b", Shard()):
            assert not is_free(tmp_path / "a", Shard())

    def test_files_of_dead_runs_hold_nothing(self, tmp_path):
        (tmp_path / "locks").mkdir()
        for name in ("0-of-2", "1-of-2", "0-of-1", "door"):
            (tmp_path / "locks" / name).touch()
        assert is_free(tmp_path, Shard(0, 1)) and is_free(tmp_path, Shard(3, 7))

    @pytest.mark.slow
    def test_a_lock_ends_with_its_process(self, tmp_path):
        code = (
            "import sys, pathlib; from lime_jax.runs.locks import hold_shard;"
            "from lime_jax.runs.shards import Shard;"
            "lock = hold_shard(pathlib.Path(sys.argv[1]), Shard(0, 2)); lock.__enter__();"
            "print('held', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout.readline() == b"held\n"
                assert "0-of-2" in conflict(tmp_path, Shard(0, 2))
                assert "0-of-2" in conflict(tmp_path, Shard(0, 1))
                assert is_free(tmp_path, Shard(1, 2))
            finally:
                process.kill()
        assert is_free(tmp_path, Shard(0, 2)) and is_free(tmp_path, Shard(0, 1))

    def test_a_folder_that_cannot_hold_locks_is_refused(self, tmp_path):
        (tmp_path / "locks" / "0-of-1").mkdir(parents=True)
        with pytest.raises(StoreError, match="cannot be locked"), hold_shard(tmp_path, Shard()):
            pass
