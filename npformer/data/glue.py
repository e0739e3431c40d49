"""GLUE-style folders: train, dev and perhaps test, as .tsv or .tsv.gz.

A table is UTF-8, one example per line, fields separated by one tab: one or two texts, then the
label. Its first line names the columns. There is no quoting: a ``"`` is an ordinary character,
which is why the ``csv`` module is not used.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from npformer.checks import InputError
from npformer.data.files import find_table, read_lines
from npformer.types import FloatArray, IntArray

# Where GLUE looks at another measure than accuracy, by the name of the task.
MEASURES = {"cola": "matthews"}


@dataclass(frozen=True)
class Examples:
    """One split: N texts or pairs of texts, with their labels.

    Parameters
    ----------
    first : list of str
    second : list of str, optional
        The second sentences of a pair task.
    labels : ndarray of shape (N,), optional
        Integer classes, or float64 scores.
    """

    first: list[str]
    second: list[str] | None
    labels: IntArray | FloatArray | None

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class Task:
    """A task: its splits, and what its labels mean.

    ``label_names[c]`` is the name of class c; a regression has none. ``unlabelled`` is more text of
    the same kind, for pretraining and general distillation.
    """

    name: str
    train: Examples
    dev: Examples
    test: Examples | None
    kind: Literal["classification", "regression"]
    label_names: tuple[str, ...]
    unlabelled: list[str] = field(default_factory=list)

    @property
    def measure(self) -> str:
        """The measure that counts: a key of what `npformer.train.evaluate.score` returns."""
        if self.kind == "regression":
            return "pearson"
        return MEASURES.get(self.name.lower(), "accuracy")


class _Row(NamedTuple):
    line: int  # counted from 1, the header being line 1
    texts: list[str]
    label: str


class _Table(NamedTuple):
    path: Path
    columns: list[str]
    rows: list[_Row]


def load_folder(folder: str | Path) -> Task:
    """Read a GLUE-style folder.

    ``train`` and ``dev`` must be there, ``test`` may be; ``unlabelled.txt`` or ``.txt.gz`` too, one
    text per line. All tables have the header of ``train``.

    The task is a *regression* if the label column is called ``score``, or if every training label
    is a number and at least one of them is not whole. Otherwise it is a *classification*, and its
    classes are the labels found in ``train``: in the order of the numbers if all are whole numbers,
    in alphabetical order if not.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    Task

    Raises
    ------
    InputError
        Naming the file, and the line where there is one.
    """
    folder = Path(folder)
    if not folder.is_dir():
        what = "got a file" if folder.exists() else "no such folder"
        raise InputError(f"{folder}: {what}, expected a folder that holds train.tsv and dev.tsv")
    train = _read_table(find_table(folder, "train.tsv"))
    dev = _read_table(find_table(folder, "dev.tsv"), train)
    has_test = any((folder / f"test.tsv{end}").exists() for end in ("", ".gz"))
    test = _read_table(find_table(folder, "test.tsv"), train) if has_test else None
    regression = train.columns[-1] == "score" or _is_fractional([row.label for row in train.rows])
    names = () if regression else _class_names(train)
    if len({row.label for row in train.rows}) < 2:
        only = f"{train.columns[-1]} {train.rows[0].label!r}"
        raise InputError(f"{train.path}: got the one {only} in every line, expected at least two")
    return Task(
        name=folder.resolve().name,
        train=_examples(train, names),
        dev=_examples(dev, names),
        test=None if test is None else _examples(test, names),
        kind="regression" if regression else "classification",
        label_names=names,
        unlabelled=_read_unlabelled(folder),
    )


def take_labelled(task: Task, number: int | None, seed: int) -> Task:
    """Return the task with so many of its training examples, chosen at random, in their order.

    The texts of all of them are unlabelled text, if the task has no other.

    Parameters
    ----------
    task : Task
    number : int, optional
        None: all there are.
    seed : int

    Raises
    ------
    InputError
        If there are fewer, or if all those chosen have the same label.
    """
    if number is None:
        return task
    train = task.train
    if number > len(train):
        raise InputError(
            f"labelled: got {number}, expected at most the {len(train)} examples of {task.name}"
        )
    some = select(train, sorted(np.random.default_rng([seed]).permutation(len(train))[:number]))
    if some.labels is not None and len(np.unique(some.labels)) < 2:
        raise InputError(
            f"labelled: got {number} with one label between them, expected enough for two"
        )
    texts = [*train.first, *(train.second or [])]
    return replace(task, train=some, unlabelled=task.unlabelled or texts)


def select(examples: Examples, indices: Iterable[int]) -> Examples:
    """Return some of the examples."""
    chosen = list(indices)
    return Examples(
        [examples.first[i] for i in chosen],
        None if examples.second is None else [examples.second[i] for i in chosen],
        None if examples.labels is None else examples.labels[chosen],
    )


def read_texts(path: str | Path) -> list[str]:
    """Read plain text: the lines of a ``.txt``, or what stands before the label in a ``.tsv``.

    Parameters
    ----------
    path : str or Path
        Either may be packed, ``.gz``. Empty lines are left out.

    Raises
    ------
    InputError
        If it is neither, or cannot be read as what its name says.
    """
    path = Path(path)
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind == ".txt":
        return [text.strip() for _, text in read_lines(path) if text.strip()]
    if kind == ".tsv":
        return [text for row in _read_table(path).rows for text in row.texts]
    raise InputError(f"{path}: got a name in {kind!r}, expected .txt or .tsv, or these with .gz")


def _read_table(path: Path, like: _Table | None = None) -> _Table:
    lines = read_lines(path)
    columns = [name.strip() for name in next(lines)[1].split("\t")]
    if like is not None and columns != like.columns:
        raise InputError(
            f"{path}, line 1: got header {columns}, expected {like.columns} as in train"
        )
    if len(columns) not in (2, 3) or _number(columns[-1]) is not None or not all(columns):
        raise InputError(
            f"{path}, line 1: got header {columns}, expected the names of one or two text columns "
            "and of the label, separated by tabs"
        )
    rows = [_row(path, number, line, columns) for number, line in lines]
    if not rows:
        raise InputError(f"{path}: got a header and no example, expected at least one")
    return _Table(path, columns, rows)


def _row(path: Path, number: int, line: str, columns: list[str]) -> _Row:
    fields = [text.strip() for text in line.split("\t")]
    if len(fields) != len(columns):
        raise InputError(
            f"{path}, line {number}: got {len(fields) - 1} tabs, expected {len(columns) - 1}"
        )
    for name, text in zip(columns, fields, strict=True):
        if not text:
            raise InputError(f"{path}, line {number}: {name} is empty, expected text")
    return _Row(number, fields[:-1], fields[-1])


def _examples(table: _Table, names: tuple[str, ...]) -> Examples:
    labels: IntArray | FloatArray
    if names:
        index = {name: c for c, name in enumerate(names)}
        for row in table.rows:
            if row.label not in index:
                raise InputError(
                    f"{table.path}, line {row.line}: got label {row.label!r}, "
                    f"expected one of train's: {', '.join(names)}"
                )
        labels = np.array([index[row.label] for row in table.rows], dtype=np.int64)
    else:
        labels = np.array([_score(table.path, row) for row in table.rows])
    pair = len(table.columns) == 3
    second = [row.texts[1] for row in table.rows] if pair else None
    return Examples([row.texts[0] for row in table.rows], second, labels)


def _class_names(train: _Table) -> tuple[str, ...]:
    names = sorted({row.label for row in train.rows})
    if all(name.removeprefix("-").isdecimal() for name in names):
        names.sort(key=int)
    return tuple(names)


def _is_fractional(labels: list[str]) -> bool:
    values = [_number(label) for label in labels]
    return None not in values and any(v is not None and v != round(v) for v in values)


def _score(path: Path, row: _Row) -> float:
    value = _number(row.label)
    if value is None:
        raise InputError(f"{path}, line {row.line}: got score {row.label!r}, expected a number")
    return value


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _read_unlabelled(folder: Path) -> list[str]:
    if not any((folder / f"unlabelled.txt{end}").exists() for end in ("", ".gz")):
        return []
    return read_texts(find_table(folder, "unlabelled.txt"))
