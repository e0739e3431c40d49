"""The trainer's state and the metrics file: exact, whole, and cut back to each other."""

import errno
import json
import os

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.optim import OptimizerState
from npformer.train.checkpoint import (
    MetricsLog,
    TrainerState,
    load_state,
    naming,
    remove_stale,
    save_state,
)


def state(seed=0, step=7):
    rng = np.random.default_rng(seed)

    def draw():
        return {
            "encoder.w": rng.standard_normal((3, 4)).astype(np.float32),
            "b": rng.standard_normal(5),
        }

    optimizer = OptimizerState(step, {"m": draw(), "v": draw()})
    numbers = {"metrics_length": 10**12 + 1, "seen": {"accuracy": 0.1 + 0.2}}
    return TrainerState("finetune", draw(), optimizer, numbers, draw())


def assert_same(one, two):
    assert (one.phase, one.numbers, one.optimizer.step) == (
        two.phase,
        two.numbers,
        two.optimizer.step,
    )
    assert one.optimizer.arrays.keys() == two.optimizer.arrays.keys()
    pairs = [(one.params, two.params), (one.extra, two.extra)]
    pairs += [(one.optimizer.arrays[k], two.optimizer.arrays[k]) for k in one.optimizer.arrays]
    for a, b in pairs:
        assert a.keys() == b.keys()
        for name in a:
            assert (a[name].dtype, a[name].shape) == (b[name].dtype, b[name].shape)
            assert a[name].tobytes() == b[name].tobytes()


def test_a_round_trip_is_exact_to_the_bit(tmp_path):
    path = tmp_path / "state.safetensors"
    save_state(path, state())
    assert_same(load_state(path), state())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_odd_floats_survive(tmp_path):
    odd = np.array([-0.0, np.inf, np.nan, 5e-324, np.finfo(float).max])
    one = state()
    one.params["b"] = odd
    save_state(tmp_path / "s", one)
    assert load_state(tmp_path / "s").params["b"].tobytes() == odd.tobytes()


def test_what_is_loaded_can_be_trained_on(tmp_path):
    save_state(tmp_path / "s", state())
    loaded = load_state(tmp_path / "s")
    for arrays in (loaded.params, *loaded.optimizer.arrays.values(), loaded.extra):
        for a in arrays.values():
            a += 1.0


def test_nothing_to_load(tmp_path):
    assert load_state(tmp_path / "s") is None


class Killed(BaseException):
    """What no ``except Exception`` catches."""


@pytest.mark.parametrize("where", ["save_file", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), Killed()])
def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch, where, error):
    path = tmp_path / "s"
    save_state(path, state(0))
    before = path.read_bytes()

    def fail(*args, **kwargs):
        if where == "save_file":  # half a file is there already
            args[1].write_bytes(b"half")
        raise error

    target = {"save_file": "safetensors.numpy", "fsync": "os", "replace": "pathlib.Path"}[where]
    monkeypatch.setattr(f"{target}.{where}", fail)
    with pytest.raises(type(error)):
        save_state(path, state(1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_a_full_disk_is_an_os_error_that_names_the_file(tmp_path):
    # The library has an error of its own kind for this.
    with pytest.raises(OSError, match="No such file") as caught:
        save_state(tmp_path / "nowhere" / "s", state())
    assert caught.value.filename == str(tmp_path / "nowhere" / "s")


FOREIGN = {
    "text": b"hello, I am no state of anything",
    "empty": b"",
    "cut": None,  # half of a real one
    "of others": None,  # real safetensors, without our numbers
    "other numbers": None,
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_one_sentence(tmp_path, kind):
    from safetensors.numpy import save_file

    path = tmp_path / "s"
    save_state(path, state())
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "of others":
        save_file({"w": np.ones(3)}, path)
    elif kind == "other numbers":
        save_file({"w": np.ones(3)}, path, metadata={"trainer": json.dumps({"epoch": 3})})
    else:
        path.write_bytes(FOREIGN[kind])
    with pytest.raises(InputError, match="expected the state of a training run") as caught:
        load_state(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_stale_temporary_files_and_folders_are_removed(tmp_path):
    (tmp_path / "phases" / "general.tmp-12").mkdir(parents=True)
    (tmp_path / "phases" / "general.tmp-12" / "config.json").write_text("{}")
    (tmp_path / "state.safetensors.tmp-99").write_bytes(b"half")
    for kept in ("state.safetensors", "phases/tmp", "notes.tmp"):
        (tmp_path / kept).write_text("mine")
    remove_stale(tmp_path)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert left == ["notes.tmp", "phases", "phases/tmp", "state.safetensors"]


def test_metrics_are_cut_back_and_go_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.write({"step": 1, "loss": 0.1})
    length = log.length
    assert length == path.stat().st_size > 0  # on disk, not in a buffer
    log.write({"step": 2, "loss": 0.2})
    log.close()
    again = MetricsLog(path, length)
    again.write({"step": 2, "loss": 0.25})
    assert again.length == path.stat().st_size
    again.close()
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert lines == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": 0.25}]


def test_metrics_that_are_gone_are_not_made_up(tmp_path):
    # Cutting a file "back" to more than it has would fill it up with zero bytes.
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: got 12 bytes, expected at least 100"):
        MetricsLog(path, 100)
    assert path.read_text() == '{"step": 1}\n'


def test_an_error_without_a_name_gets_one():
    with pytest.raises(OSError, match="No space") as caught, naming("a/b"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == "a/b"
    with pytest.raises(OSError, match="No space") as caught, naming("a/b"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "c")
    assert caught.value.filename == "c"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a disk that is full")
def test_metrics_on_a_full_disk_name_the_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log._file.close()
    log._file = open("/dev/full", "a", encoding="utf-8")  # noqa: SIM115
    log.write({"step": 1})
    with pytest.raises(OSError, match="No space left") as caught:
        _ = log.length
    assert caught.value.filename == "/dev/full"
    with pytest.raises(OSError, match="No space left"):
        log.close()
