"""From the command to q k^T: how many functions stand between them."""

import sys
import threading
import time

import pytest

from npformer.cli import main
from npformer.layers import attend


class Arrived(Exception):
    """The scores are about to be computed; says through which functions."""


def functions_of(frame):
    """Return the library's functions from the outermost to this frame."""
    found = []
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("npformer"):
            found.append(frame.f_code.co_qualname)
        frame = frame.f_back
    return found[::-1]


def test_at_most_twelve_functions_from_the_command_to_the_scores(monkeypatch, tmp_path):
    inner = attend.attention_scores_forward

    def arrive(*args, **kwargs):
        time.sleep(0.2)  # until the main thread has handed out the work and waits for it
        outside = functions_of(sys._current_frames()[threading.main_thread().ident])
        raise Arrived([*outside, *functions_of(sys._getframe(1)), inner.__qualname__])

    monkeypatch.setattr(attend, "attention_scores_forward", arrive)
    with pytest.raises(Arrived) as arrived:
        main(["distill", "--out", str(tmp_path / "run"), "--reviews", "200", "--labelled", "50"])
    way = arrived.value.args[0]
    assert way[:2] == ["main", "run"]
    assert way[-2:] == ["attend_forward", "attention_scores_forward"]
    assert "MultiHeadAttention.forward" in way
    assert len(way) <= 12, way
    assert not (tmp_path / "run").exists()  # no step was made
