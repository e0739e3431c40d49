"""The verdicts, on made-up numbers."""

import re

import pytest

from npformer.jobs.ablate.report import report, summary
from npformer.jobs.ablate.rows import FULL, Row
from npformer.jobs.ablate.verdict import Order, order_verdict
from npformer.jobs.distill.settings import Settings
from npformer.train.verdict import paired_verdict

PAPER = {"full": 75.6, "a": 72.5, "b": 68.5, "c": 68.4}  # b and c are a tie
LUCK = (0.0, 0.011, -0.02, 0.007)  # of a seed, in all rows


def scores(mean, *own):
    """Return scores that share the luck of their seeds but for ``own``."""
    own = own or (0.001, -0.001, 0.002, 0.0)
    return [mean + luck + more for luck, more in zip(LUCK, own, strict=True)]


def test_the_same_order():
    ours = {
        "full": scores(0.95),
        "a": scores(0.92, 0.0, 0.001, 0.0, 0.002),
        "b": scores(0.80, 0.002, 0.0, 0.001, 0.0),
        "c": scores(0.84, 0.0, 0.0, 0.0, 0.003),
    }
    assert order_verdict(ours, PAPER) == Order("same order", 5, 0, 0)


def test_what_the_paper_holds_apart_too_little_is_not_compared():
    ours = {"b": scores(0.5), "c": scores(0.9, 0.0, 0.001, 0.0, 0.001)}
    paper = {"b": 68.5, "c": 68.4}
    assert order_verdict(ours, paper) == Order("inconclusive", 0, 0, 0)
    assert order_verdict(ours, {"b": 68.9, "c": 68.4}) == Order("different order", 0, 1, 0)


def test_another_order():
    ours = {
        "full": scores(0.95),
        "a": scores(0.97, 0.0, 0.001, 0.0, 0.002),
        "b": scores(0.80, 0.002, 0.0, 0.001, 0.0),
        "c": scores(0.84, 0.0, 0.0, 0.0, 0.003),
    }
    assert order_verdict(ours, PAPER) == Order("different order", 4, 1, 0)


def test_too_much_luck():
    ours = {
        "full": scores(0.95),
        "a": scores(0.92, 0.05, -0.04, 0.03, -0.02),
        "b": scores(0.80),
        "c": scores(0.84, 0.0, 0.0, 0.0, 0.003),
    }
    found = order_verdict(ours, PAPER)
    assert found.verdict == "inconclusive"
    assert (found.reversed, found.undecided) == (0, 1)


def test_one_pair_of_many_must_be_the_clearer_the_more_there_are():
    # Between 95 % and 99 %: enough for a single pair, and too little for one of five.
    low, high = scores(0.95), scores(0.957, 0.001, 0.004, 0.001, -0.003)
    assert paired_verdict(high, low).verdict == "better"
    assert paired_verdict(high, low, confidence=0.99).verdict == "inconclusive"
    assert (
        order_verdict({"full": low, "a": high}, {"full": 75.6, "a": 72.5})[0] == "different order"
    )
    ours = {"full": low, "a": high, "b": scores(0.80), "c": scores(0.80, 0.003, 0.0, 0.0, 0.0)}
    assert order_verdict(ours, PAPER)[0] == "inconclusive"


def test_equal_scores_are_no_order():
    ours = dict.fromkeys(PAPER, scores(0.9))
    assert order_verdict(ours, PAPER) == Order("inconclusive", 0, 0, 5)


def runs(values, **more):
    return [
        {
            "seed": i,
            "measure": "accuracy",
            "dev": {"accuracy": v, "f1": 0.1},
            "seconds": 2.0,
            **more,
        }
        for i, v in enumerate(values)
    ]


@pytest.fixture(scope="module")
def found():
    rows = {
        FULL: runs([0.90, 0.94, 0.92]),
        Row("losses", "attention"): runs([0.80, 0.85, 0.81]),
        Row("losses", "embedding+hidden"): runs([0.60, 0.66, 0.63]),
        Row("mapping", "top"): runs([0.91, 0.93, 0.92]),
    }
    return summary(Settings.of({}), runs([0.95, 0.96, 0.97], at_chance=False), rows)


def test_the_summary(found):
    assert (found["measure"], found["seeds"], found["seconds"]) == ("accuracy", [0, 1, 2], 30.0)
    assert found["teacher"] == {"scores": [0.95, 0.96, 0.97], "at_chance": [False] * 3}
    assert list(found["tables"]) == ["losses", "mapping"]
    full, attention, both = found["tables"]["losses"]["rows"]
    # By hand: t of 2 degrees of freedom is 4.30265, the spreads are 0.02 and 0.01 by sqrt(3).
    assert full["mean"] == pytest.approx(0.92)
    assert full["high"] - full["mean"] == pytest.approx(4.30265 * 0.02 / 3**0.5, rel=1e-5)
    beside = attention["minus_full"]
    assert beside["mean"] == pytest.approx(-0.1)
    assert beside["mean"] - beside["low"] == pytest.approx(4.30265 * 0.01 / 3**0.5, rel=1e-5)
    assert attention["paper"] == {
        **{"mnli_m": 79.9, "mnli_mm": 80.7, "mrpc": 82.3, "cola": 41.1},
        "average": 71.0,
    }
    assert both["paper"] is None
    # What the paper does not have takes no part in its order.
    assert found["tables"]["losses"]["order"] == Order("same order", 1, 0, 0)._asdict()
    assert found["tables"]["mapping"]["order"] == Order("inconclusive", 0, 0, 1)._asdict()


def test_the_report(found):
    lines = report(found)
    assert lines[0] == "accuracy x 100 on dev, means of 3 seeds with 95 % intervals"
    assert lines[1] == "teachers: 95.0, 96.0, 97.0"
    assert lines[3] == "loss terms, table 3 of the paper"
    table = [re.split("  +", line) for line in lines[4:9]]
    assert table[2] == ["full method", "92.0", "87.0 to 97.0", "75.6"]
    ours = ["82.0", "75.4 to 88.6", "-10.0", "-12.5 to -7.5"]
    assert table[3] == ["w/o attention", *ours, "71.0", "-4.6"]
    assert len(table[4]) == 5  # the paper has no such row
    assert lines[9] == "ours, best first:  full method; w/o attention; w/o embedding+hidden"
    assert lines[10] == "paper, best first: full method; w/o attention"
    assert lines[-1] == (
        "verdict: inconclusive (of 1 pairs that the paper holds 0.5 points or more apart, "
        "0 as there, 0 the other way round, 1 undecided)"
    )


def test_a_teacher_at_chance_is_named(found):
    teacher = {**found["teacher"], "at_chance": [False, True, False]}
    assert any("hardly better" in line for line in report({**found, "teacher": teacher}))
    assert not any("hardly better" in line for line in report(found))
