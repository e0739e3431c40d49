"""The embedded pairs: numbers and dates, in both languages."""

import datetime

import pytest

from npformer.checks import InputError
from npformer.data.conversions import chinese_number, english_number, generate_conversions


@pytest.mark.parametrize(
    ("n", "english", "chinese"),
    [
        (0, "zero", "零"),
        (10, "ten", "十"),
        (21, "twenty-one", "二十一"),
        (105, "one hundred and five", "一百零五"),
        (110, "one hundred and ten", "一百一十"),
        (3020, "three thousand and twenty", "三千零二十"),
        (100_001, "one hundred thousand and one", "十万零一"),
        (
            999_999,
            "nine hundred and ninety-nine thousand nine hundred and ninety-nine",
            "九十九万九千九百九十九",
        ),
    ],
)
def test_number_words(n: int, english: str, chinese: str) -> None:
    assert english_number(n, between=" and ") == english
    assert chinese_number(n) == chinese


def test_splits_share_no_value_and_no_pair_comes_twice() -> None:
    task = generate_conversions(train=3000, dev=300, test=300, seed=5)
    assert task.test is not None
    values = [set(split.targets) for split in (task.train, task.dev, task.test)]
    assert len(set.union(*values)) == sum(map(len, values))
    assert len(set(task.train.sources)) == 3000


def test_dev_has_no_small_number() -> None:
    task = generate_conversions(train=3000, dev=300, test=1, seed=5)
    smallest = [min(int(t) for t in s.targets if "-" not in t) for s in (task.train, task.dev)]
    assert smallest[0] < 10 <= 100 <= smallest[1]


def test_dates_are_dates_and_half_the_pairs() -> None:
    targets = generate_conversions(train=400, dev=1, test=1, seed=1).train.targets
    dates = [t for t in targets if "-" in t]
    assert len(dates) == 200
    for text in dates:
        assert datetime.date.fromisoformat(text).year in range(1900, 2100)
    assert all(t.isdigit() for t in targets if "-" not in t)


def test_a_seed_is_a_task() -> None:
    a, b = (generate_conversions(train=50, dev=5, test=5, seed=seed) for seed in (3, 3))
    assert a == b
    assert a != generate_conversions(train=50, dev=5, test=5, seed=4)


def test_refuses_an_empty_split() -> None:
    with pytest.raises(InputError, match="dev: got 0 pairs"):
        generate_conversions(dev=0, seed=0)
