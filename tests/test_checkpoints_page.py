"""The tables of docs/checkpoints.md say what the code reads, refuses and passes over."""

from pathlib import Path

import pytest

from npformer.models import Encoder
from npformer.models.huggingface.classes import LABEL_FIELDS
from npformer.models.huggingface.family import REQUIRED
from npformer.models.huggingface.registry import FAMILIES as EVERY

FAMILIES = {n: f for n, f in EVERY.items() if Encoder in f.architectures.values()}
GENERATORS = {n: f for n, f in EVERY.items() if n not in FAMILIES}
PAGE = Path(__file__).parent.parent / "docs" / "checkpoints.md"


def shown(value: object) -> str:
    words = {True: "true", False: "false", None: "null"}
    return f"`{words[value] if value is None or isinstance(value, bool) else value}`"


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def families() -> str:
    rows = [
        [f"`{name}`", ", ".join(f"`{a}`" for a in family.architectures)]
        for name, family in FAMILIES.items()
    ]
    return "\n".join(["| `model_type` | `architectures` |", "|---|---|", *map(row, rows)])


def fields() -> str:
    """One line a field of ours: its name in each family, and what a missing one means."""
    names = list(dict.fromkeys(f.ours for family in FAMILIES.values() for f in family.fields))
    lines = [
        f"| Here | {' | '.join(f'`{n}`' for n in FAMILIES)} |",
        f"|---|{'---|' * len(FAMILIES)}",
    ]
    for name in sorted(names, key="classifier_dropout".__eq__):
        cells = [f"`{name}`"]
        for family in FAMILIES.values():
            found = [f for f in family.fields if f.ours == name]
            if found:
                default = found[0].default
                more = "" if default is REQUIRED else f", else {shown(default)}"
                cells.append(f"`{found[0].theirs}`{more}")
            elif name in family.constants:
                cells.append(f"always {shown(family.constants[name])}")
            else:
                cells.append("-")
        lines.append(row(cells))
    return "\n".join(lines)


def fixed() -> str:
    lines = ["| Field | Must be | In |", "|---|---|---|"]
    seen: dict[tuple[str, str], list[str]] = {}
    for family in FAMILIES.values():
        for name, value in family.fixed.items():
            seen.setdefault((name, shown(value)), []).append(f"`{family.model_type}`")
        for kind, values in family.fixed_for.items():
            for name, value in values.items():
                where = f"`{family.model_type}`, {kind.__name__}"
                seen.setdefault((name, shown(value)), []).append(where)
    for (name, value), where in seen.items():
        lines.append(
            row([f"`{name}`", value, "all" if len(where) == len(FAMILIES) else ", ".join(where)])
        )
    return "\n".join(lines)


def neutral() -> str:
    common = frozenset.intersection(*(family.neutral for family in FAMILIES.values()))
    lines = ["| In | Fields |", "|---|---|"]
    for name, names in {
        "all": common,
        **{f"`{n}`": family.neutral - common for n, family in FAMILIES.items()},
    }.items():
        lines.append(row([name, ", ".join(f"`{n}`" for n in sorted(names)) or "no others"]))
    return "\n".join(lines)


def generators() -> str:
    lines = ["| `model_type` | `architectures` | Here | Always |", "|---|---|---|---|"]
    for name, family in GENERATORS.items():
        always = ", ".join(f"`{n}` {shown(value)}" for n, value in family.constants.items())
        [(architecture, kind)] = family.architectures.items()
        lines.append(row([f"`{name}`", f"`{architecture}`", f"`{kind.__name__}`", always]))
    return "\n".join(lines)


@pytest.mark.parametrize("make", [families, fields, fixed, neutral, generators])
def test_tables(make):
    page = PAGE.read_text(encoding="utf-8")
    _, found, rest = page.partition(f"<!-- {make.__name__} -->\n\n")
    assert found
    assert rest.partition("\n\n")[0].rstrip("\n") == make(), f"\n{make()}"


def test_the_fields_of_labels_and_of_padding_are_named():
    page = PAGE.read_text(encoding="utf-8")
    for name in (*LABEL_FIELDS, "pad_token_id"):
        assert name in page
