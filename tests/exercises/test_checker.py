"""The checker: bad answers get a sentence that helps, unplanned mistakes a diagnosis."""

import json
import sys
import threading

import numpy as np
import pytest

from npformer import ops
from npformer.exercises.checker import Report, check
from npformer.exercises.course import find

EXERCISE = find("softmax-backward")


def right(dprobs, probs):
    return probs * (dprobs - (dprobs * probs).sum(axis=-1, keepdims=True))


def said(fn):
    report = check(EXERCISE, fn)
    assert not report.passed
    return report.text("en")


def writes(dprobs, probs):
    dprobs -= (dprobs * probs).sum(axis=-1, keepdims=True)
    return probs * dprobs


def raises(dprobs, probs):
    nothing = dprobs.nothing
    return nothing


def keeps_a_state(dprobs, probs, seen=[]):  # noqa: B006
    seen.append(1)
    return right(dprobs, probs) + (len(seen) > 1000) + 1e-12 * len(seen)


def unfinished(dprobs, probs):
    raise NotImplementedError


def calls_itself(dprobs, probs):
    return calls_itself(dprobs, probs)


def leaves_python(dprobs, probs):
    raise SystemExit(3)


def calls_the_library_unseen(dprobs, probs):
    sys.setprofile(None)
    return ops.softmax_backward(dprobs, ops.SoftmaxCache(probs, -1))


def calls_the_library_in_a_thread(dprobs, probs):
    found = []

    def run():
        found.append(ops.softmax_backward(dprobs, ops.SoftmaxCache(probs, -1)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


BAD = {
    "a number": (3, "expected the function softmax_backward(dprobs, probs)"),
    "signature": (lambda x: x, "signature: got softmax_backward(x), expected"),
    "unfinished": (unfinished, "not written yet"),
    "None": (lambda dprobs, probs: None, "got None, expected dx: is there a return?"),
    "a list": (lambda dprobs, probs: right(dprobs, probs).tolist(), "got a list"),
    "two results": (lambda dprobs, probs: (right(dprobs, probs), probs), "got a tuple"),
    "complex": (lambda dprobs, probs: right(dprobs, probs) + 0j, "got complex128"),
    "float32": (lambda dprobs, probs: right(dprobs, probs).astype(np.float32), "got float32"),
    "always float64": (
        lambda dprobs, probs: right(dprobs, probs).astype(np.float64),
        "got float64 from float32 inputs, expected float32",
    ),
    "NaN": (lambda dprobs, probs: right(dprobs, probs) * np.nan, "got NaN at index (0, 0), 6 in"),
    "infinity": (lambda dprobs, probs: right(dprobs, probs) + np.inf, "got infinity"),
    "shape": (
        lambda dprobs, probs: right(dprobs, probs)[0],
        "got shape (3,), expected shape (2",
    ),
    "transposed": (lambda dprobs, probs: right(dprobs, probs).T, "got shape (3, 2), expected"),
    "writes": (writes, "it writes into dprobs"),
    "raises": (raises, "has no attribute 'nothing', at line"),
    "state": (keeps_a_state, "a second call with the same inputs gives something else"),
    "random": (
        lambda dprobs, probs: right(dprobs, probs) + 1e-12 * np.random.default_rng().normal(),
        "draws random numbers",
    ),
    "recursion": (calls_itself, "it calls itself without end"),
    "exit": (leaves_python, "SystemExit"),
    "the library": (
        lambda dprobs, probs: ops.softmax_backward(dprobs, ops.SoftmaxCache(probs, -1)),
        "it calls npformer's softmax_backward",
    ),
    "the library, unseen": (calls_the_library_unseen, "it switches off what would see it"),
    "the library, in a thread": (
        calls_the_library_in_a_thread,
        "it calls npformer's softmax_backward",
    ),
    "the reference": (
        lambda dprobs, probs: EXERCISE.reference(dprobs, probs),
        "it calls npformer's softmax_backward",
    ),
}


def test_a_right_answer_passes():
    assert check(EXERCISE, right).passed


@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_gets_one_sentence_that_helps(name):
    fn, sentence = BAD[name]
    assert sentence in said(fn)


def test_what_is_printed_is_left_out_and_said(capsys):
    def prints(dprobs, probs):
        print("hello")
        return right(dprobs, probs)

    report = check(EXERCISE, prints)
    assert report.passed
    assert "note: it prints" in report.text("en")
    assert capsys.readouterr().out == ""


def total(dprobs, probs):
    return (dprobs * probs).sum(axis=-1, keepdims=True)


UNPLANNED = {
    "sign": (lambda d, p: -right(d, p), "dx has the wrong sign"),
    "number of classes": (lambda d, p: right(d, p) / p.shape[-1], "the right result times 1/C"),
    "plain factor": (lambda d, p: 2 * right(d, p), "the right result times 2"),
    "sign of a term": (lambda d, p: p * (d + total(d, p)), "has the wrong sign"),
    "a mean for a sum": (
        lambda d, p: p * (d - (d * p).mean(axis=-1, keepdims=True)),
        "the term - p * sum(dp * p) is multiplied by 1/C",
    ),
    "a factor left out": (lambda d, p: d - total(d, p), "dx lacks the factor probs"),
    "a factor too many": (lambda d, p: p * right(d, p), "multiplied by probs once too often"),
    "nothing at all": (lambda d, p: np.zeros_like(d), "zero everywhere"),
    "exchanged": (lambda d, p: right(p, d), "dprobs and probs are exchanged"),
}


@pytest.mark.parametrize("name", UNPLANNED)
def test_a_mistake_that_nobody_planned_is_recognised(name):
    fn, sentence = UNPLANNED[name]
    assert sentence in said(lambda dprobs, probs: fn(dprobs, probs))


def test_where_nothing_matches_it_shows_the_first_intermediate_that_differs():
    def strange(dprobs, probs):
        mean = (dprobs * probs**1.5).sum(axis=-1, keepdims=True)
        return probs * (dprobs - mean)

    text = said(strange)
    assert "none of the mistakes known here. dx[0, 0]: got " in text
    assert "ours" in text


def test_a_shape_that_does_not_meet_another_gets_a_guess():
    text = said(lambda dprobs, probs: probs * (dprobs - (dprobs * probs).sum(-1)))
    assert "a sum or mean has lost its axis" in text
    text = said(lambda dprobs, probs: dprobs @ probs)
    assert "the inner sizes of a matrix product differ" in text


def test_a_report_survives_json():
    report = check(EXERCISE, lambda dprobs, probs: dprobs * probs)
    again = Report.from_json(json.loads(json.dumps(report.to_json())))
    assert again == report
    assert "<table>" in again.html("zh")
    assert "FAIL" in again.text("en")
    assert "未过" in again.text("zh")
