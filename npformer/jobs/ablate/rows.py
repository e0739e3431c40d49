"""The rows of TinyBERT's ablations: what each one leaves out, and what the paper got.

References
----------
Jiao et al. 2020, "TinyBERT: distilling BERT for natural language understanding", tables 2 to 4.
Deviations: every row makes as many updates as the full method in the phases that it keeps; the
paper counts epochs. Of "w/o TD" it does not say what takes the place of task distillation; here
it is ordinary training on the labels of the augmented sentences, because its table 7 has a lower
figure for the same without augmentation (61.1).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from npformer.checks import InputError
from npformer.distill.mapping import STRATEGIES
from npformer.jobs.distill.settings import Settings


class Paper(NamedTuple):
    """What the paper prints for the four-layer student, on GLUE's dev sets; the mean as printed."""

    mnli_m: float
    mnli_mm: float
    mrpc: float
    cola: float
    average: float


class Table(NamedTuple):
    """One of the paper's tables."""

    number: int
    title: str
    option: str  # of the command
    names: tuple[str, ...]  # of its rows, without the full method


INTERMEDIATE = ("embedding", "hidden", "attention")
TERMS = (*INTERMEDIATE, "prediction")
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "stages": Table(2, "stages", "--stages", ("general", "task", "augmentation")),
        "losses": Table(
            3,
            "loss terms",
            "--drop",
            ("embedding", "prediction", "attention+hidden", "attention", "hidden"),
        ),
        "mapping": Table(4, "layer mapping", "--mapping", ("top", "bottom")),
    }
)


@dataclass(frozen=True)
class Row:
    """A variant of the method. ``name`` is what it leaves out, or its mapping."""

    table: str  # of `TABLES`; "full" is a row of each of them
    name: str

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        return LABELS.get((self.table, self.name)) or f"w/o {self.name}"

    @property
    def option(self) -> str:
        """The option of the command that chooses it."""
        return TABLES[self.table].option

    @property
    def paper(self) -> Paper | None:
        """What the paper got, if it has this row."""
        return PAPER.get((self.table, self.name))

    @property
    def folder(self) -> str:
        """Where its runs are kept, below the grid's folder."""
        return self.table if self == FULL else f"{self.table}/{self.name}"

    @property
    def terms(self) -> tuple[str, ...]:
        """The loss terms that it leaves out."""
        return tuple(self.name.split("+")) if self.table == "losses" else ()


FULL = Row("full", "full")
LABELS = {
    ("full", "full"): "full method",
    ("stages", "general"): "w/o general distillation",
    ("stages", "task"): "w/o task distillation",
    ("losses", "attention+hidden"): "w/o attention, hidden",
    ("mapping", "top"): "top layers",
    ("mapping", "bottom"): "bottom layers",
}
PAPER = {
    ("full", "full"): Paper(82.8, 82.9, 85.8, 50.8, 75.6),
    ("stages", "general"): Paper(82.5, 82.6, 84.1, 40.8, 72.5),
    ("stages", "task"): Paper(80.6, 81.2, 83.8, 28.5, 68.5),
    ("stages", "augmentation"): Paper(80.5, 81.0, 82.4, 29.8, 68.4),
    ("losses", "embedding"): Paper(82.3, 82.3, 85.0, 46.7, 74.1),
    ("losses", "prediction"): Paper(80.5, 81.0, 84.3, 48.2, 73.5),
    ("losses", "attention+hidden"): Paper(71.7, 72.3, 70.1, 11.2, 56.3),
    ("losses", "attention"): Paper(79.9, 80.7, 82.3, 41.1, 71.0),
    ("losses", "hidden"): Paper(81.7, 82.1, 84.1, 43.7, 72.9),
    ("mapping", "top"): Paper(81.7, 82.3, 83.6, 35.9, 70.9),
    ("mapping", "bottom"): Paper(80.6, 81.3, 84.6, 38.5, 71.3),
}


def rows_of(chosen: Mapping[str, Sequence[str]]) -> tuple[Row, ...]:
    """Return the rows of these names, the full method first.

    Parameters
    ----------
    chosen : mapping of str to sequence of str
        Names by table. Of "losses" a name may join several terms by ``+``; "uniform" of "mapping"
        is the full method.

    Raises
    ------
    InputError
        If a name is unknown, comes twice, or would leave the intermediate phases without a loss;
        if nothing is chosen.
    """
    rows = [FULL]
    for table, names in chosen.items():
        for name in names:
            row = FULL if (table, name) == ("mapping", "uniform") else _row(table, name)
            if row != FULL and row in rows:
                raise InputError(f"{TABLES[table].option}: got {name} twice, expected it once")
            rows += [row] * (row != FULL)
    if rows == [FULL]:
        options = ", ".join(table.option for table in TABLES.values())
        raise InputError(f"{options}: got nothing to leave out, expected at least one row")
    return tuple(rows)


def _row(table: str, name: str) -> Row:
    option = TABLES[table].option
    if table != "losses":
        known = tuple(STRATEGIES) if table == "mapping" else TABLES[table].names
        if name not in known:
            raise InputError(f"{option}: got {name!r}, expected one of {', '.join(known)}")
        return Row(table, name)
    terms = name.split("+")
    for term in terms:
        if term not in TERMS:
            raise InputError(
                f"{option}: got {term!r}, expected one of {', '.join(TERMS)}, or several of them "
                "joined by +"
            )
    if set(INTERMEDIATE) <= set(terms):
        raise InputError(
            f"{option}: got {name}, which leaves the general and intermediate phases without a "
            f"loss, expected at most two of {', '.join(INTERMEDIATE)}"
        )
    return Row(table, "+".join(sorted(set(terms), key=sorted(TERMS).index)))


def settings_of(row: Row, full: Settings, steps: Mapping[str, int]) -> Settings:
    """Return the settings of the full method with what a row changes.

    Parameters
    ----------
    row : Row
    full : Settings
    steps : mapping of str to int
        Updates of the full method in "general", "intermediate" and "prediction": also a row's,
        whatever amount of text it has. Without task distillation, training on labels makes
        the updates of both of its phases.
    """
    steps = {**full.steps, **steps}
    # The classifier of a student that is taught no predictions learns from the labels.
    labels_only = full.weights | {"prediction": 0.0, "hard_label": 1.0}
    changes: dict[str, Any] = {}
    if row.table == "mapping":
        changes["mapping"] = row.name
    elif row.table == "losses":
        kept = labels_only if "prediction" in row.terms else full.weights
        changes["weights"] = kept | {t: 0.0 for t in row.terms}
    elif row.name == "general":
        steps["general"] = 0
    elif row.name == "task":
        both = steps["intermediate"] + steps["prediction"]
        steps |= {"intermediate": 0, "prediction": both}
        changes["weights"] = labels_only
    elif row.name == "augmentation":
        changes |= {"copies": 0, "long_copies": 0}
    return replace(full, steps=steps, **changes)
