"""The embedded pairs: dates in many styles to ISO dates, number words to digits.

English and Chinese, character by character: "Monday, January 7th, 2013" and "二〇一三年一月七日"
both become 2013-01-07, "three thousand and twenty" and "三千零二十" both 3020. The splits share
no value: a date or a number of dev or test is in train in no style at all. Numbers below 100
are in train only: they are the words that the others are made of.
"""

import datetime
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.data.pairs import Pairs, PairTask

MONTHS = (
    "January February March April May June July August September October November December".split()
)
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen".split()
)
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
DIGITS = "零一二三四五六七八九"
UNITS = ("千", "百", "十", "")
FORMAL = str.maketrans("零一二三四五六七八九十百千", "零壹贰叁肆伍陆柒捌玖拾佰仟")

FIRST, LAST = datetime.date(1900, 1, 1), datetime.date(2099, 12, 31)
SMALLEST, LARGEST = 100, 10_000  # of the numbers of dev and test; the second is excluded
# A value's split is the remainder of its checksum: train has what is neither dev nor test.
SHARES, DEV, TEST = 10, 0, 1
MOST, FEW = 100_000, 5_000  # pairs of train, of dev and test: there are not many more


class DateWords(NamedTuple):
    """The parts of a date that styles are made of."""

    y: int
    m: int
    d: int
    month: str  # January
    mon: str  # Jan
    weekday: str  # Monday
    th: str  # 7th
    zh_y: str  # 二〇一三
    zh_m: str  # 一
    zh_d: str  # 七
    zh_weekday: str  # 一

    @classmethod
    def of(cls, day: datetime.date) -> "DateWords":
        """Take a date apart."""
        month = MONTHS[day.month - 1]
        ending = "th" if 10 < day.day < 14 else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th")
        return cls(
            day.year,
            day.month,
            day.day,
            month,
            month[:3],
            WEEKDAYS[day.weekday()],
            f"{day.day}{ending}",
            "".join("〇一二三四五六七八九"[int(c)] for c in str(day.year)),
            chinese_number(day.month),
            chinese_number(day.day),
            "一二三四五六日"[day.weekday()],
        )


DATE_STYLES = (
    "{month} {d}, {y}",
    "{mon} {d}, {y}",
    "{weekday}, {month} {d}, {y}",
    "{weekday} {d} {month} {y}",
    "{month} {th}, {y}",
    "{d} {month} {y}",
    "{d} {mon} {y}",
    "the {th} of {month}, {y}",
    "{th} {mon} {y}",
    "{y} {month} {d}",
    "{d}-{mon}-{y}",
    "{y}/{m}/{d}",
    "{y}.{m:02}.{d:02}",
    "{y}{m:02}{d:02}",
    "{y}年{m}月{d}日",
    "{y}年{m:02}月{d:02}日",
    "{zh_y}年{zh_m}月{zh_d}日",
    "{y}年{m}月{d}日 星期{zh_weekday}",
    "{zh_y}年{zh_m}月{zh_d}日，周{zh_weekday}",
)
CASES: tuple[Callable[[str], str], ...] = (str, str, str.lower, str.upper)
NUMBER_STYLES: tuple[Callable[[int], str], ...] = (
    lambda n: english_number(n),
    lambda n: english_number(n, between=" and "),
    lambda n: english_number(n, between=" and ").replace("-", " "),
    lambda n: chinese_number(n),
    lambda n: chinese_number(n).replace("二千", "两千"),
    lambda n: chinese_number(n, short=False).translate(FORMAL),
)


def english_number(n: int, between: str = " ") -> str:
    """Return the words of 0 <= n < 1,000,000; ``between`` stands after a hundred."""
    if n >= 1000:
        thousands, rest = divmod(n, 1000)
        # "two thousand and twenty", but "two thousand one hundred and twenty"
        joint = between if rest < 100 else " "
        tail = f"{joint}{english_number(rest, between)}" if rest else ""
        return f"{english_number(thousands, between)} thousand{tail}"
    if n >= 100:
        hundreds, rest = divmod(n, 100)
        tail = f"{between}{english_number(rest)}" if rest else ""
        return f"{ONES[hundreds]} hundred{tail}"
    if n >= 20:
        tens, rest = divmod(n, 10)
        return TENS[tens - 2] + (f"-{ONES[rest]}" if rest else "")
    return ONES[n]


def chinese_number(n: int, *, short: bool = True) -> str:
    """Return the characters of 0 <= n < 100,000,000: groups of four digits, 零 for a gap.

    ``short`` writes 十 for a leading 一十, as people do.
    """
    if n == 0:
        return DIGITS[0]
    upper, lower = divmod(n, 10_000)
    text = f"{_four_digits(upper)}万" if upper else ""
    if lower:
        text += (DIGITS[0] if upper and lower < 1000 else "") + _four_digits(lower)
    return text.removeprefix("一") if short and text.startswith("一十") else text


def _four_digits(n: int) -> str:
    text, gap = "", False
    for digit, unit in zip(f"{n:04}", UNITS, strict=True):
        if digit == "0":
            gap = bool(text)
        else:
            text += (DIGITS[0] if gap else "") + DIGITS[int(digit)] + unit
            gap = False
    return text


def generate_conversions(
    *, train: int = 60_000, dev: int = 1000, test: int = 2000, seed: int
) -> PairTask:
    """Generate the task: in each split half dates, half numbers, and no pair twice.

    Parameters
    ----------
    train, dev, test : int
        Pairs of each split.
    seed : int

    Returns
    -------
    PairTask
    """
    for name, size, most in (("train", train, MOST), ("dev", dev, FEW), ("test", test, FEW)):
        if not 1 <= size <= most:
            raise InputError(f"{name}: got {size} pairs, expected 1 to {most:,}")
    return PairTask(
        "conversions",
        _split(train, range(TEST + 1, SHARES), [seed, 2]),
        _split(dev, range(DEV, DEV + 1), [seed, 0]),
        _split(test, range(TEST, TEST + 1), [seed, 1]),
    )


def _split(size: int, shares: range, seed: list[int]) -> Pairs:
    rng = np.random.default_rng(seed)
    pairs: dict[str, str] = {}  # by source: none comes twice
    while len(pairs) < size:
        source, target = _number(rng) if len(pairs) % 2 else _date(rng)
        if _share(target) in shares:
            pairs[source] = target
    return Pairs(list(pairs.keys()), list(pairs.values()))


def _share(target: str) -> int:
    if "-" not in target and int(target) < SMALLEST:
        return TEST + 1
    return zlib.crc32(target.encode()) % SHARES


def _date(rng: np.random.Generator) -> tuple[str, str]:
    day = FIRST + datetime.timedelta(int(rng.integers((LAST - FIRST).days + 1)))
    style = DATE_STYLES[rng.integers(len(DATE_STYLES))]
    source = style.format(**DateWords.of(day)._asdict())
    return CASES[rng.integers(len(CASES))](source), day.isoformat()


def _number(rng: np.random.Generator) -> tuple[str, str]:
    # Half the numbers have gaps, which uniform ones rarely do.
    n = int(rng.integers(LARGEST))
    if rng.random() < 0.5:
        kept = rng.random(4) < 0.5
        n = sum(int(digit) * 10**i for i, digit in enumerate(reversed(f"{n:04}")) if kept[i])
    style = NUMBER_STYLES[rng.integers(len(NUMBER_STYLES))]
    return CASES[rng.integers(len(CASES))](style(n)), str(n)
