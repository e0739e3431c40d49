"""A task of a few sentences in a folder, and a distillation run of a few steps on it."""

from pathlib import Path

WORDS = "film plot cast score end joke scene book dish room".split()
GOOD, BAD = "fine warm bright clever".split(), "dull cold flat stale".split()
PHASES = ("pretrain", "general", "finetune", "intermediate", "prediction", "scratch")
# Sizes and steps of a run; the phases save every fourth of their steps.
SETTINGS = {
    "teacher": "2x16x2",
    "student": "1x8x2",
    "batch_size": 5,
    "copies": 1,
    "max_len": 16,
    "steps": {phase: 5 + i for i, phase in enumerate(PHASES)},
}
OPTIONS = [
    *("--teacher", "2x16x2", "--student", "1x8x2", "--batch-size", "5", "--copies", "1"),
    *("--max-len", "16"),
    *(f"--steps={phase}={5 + i}" for i, phase in enumerate(PHASES)),
]


def texts(count: int, start: int) -> list[tuple[str, bool]]:
    """Return sentences of ragged lengths and whether they are good ones."""
    rows = []
    for i in range(start, start + count):
        good = i % 2 == 0
        word = (GOOD if good else BAD)[i // 2 % 4]
        tail = " and ".join([""] + [WORDS[(i * j) % 10] for j in range(1, 1 + i % 3)])
        rows.append((f"the {WORDS[i % 10]} was {word}{tail}", good))
    return rows


def write_task(folder: Path, kind: str = "single") -> Path:
    """Write train, dev and test of a "single", "pair", "regression", "strings" or "three" task."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, start in (("train", 23, 0), ("dev", 10, 50), ("test", 6, 80)):
        rows = texts(count, start)
        if kind == "regression":
            lines = ["sentence\tscore", *(f"{t}\t{3.5 * g + 0.1 * i}" for i, (t, g) in numbered(rows))]
        elif kind == "pair":
            lines = ["a\tb\tlabel", *(f"{t}\tit was {'good' if g else 'bad'}\t{i % 2}" for i, (t, g) in numbered(rows))]
        elif kind == "strings":
            lines = ["sentence\tlabel", *(f"{t}\t{'yes' if g else 'no'}" for t, g in rows)]
        elif kind == "three":
            lines = ["sentence\tlabel", *(f"{t}\t{i % 3}" for i, (t, _) in numbered(rows))]
        else:
            lines = ["sentence\tlabel", *(f"{t}\t{int(g)}" for t, g in rows)]
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def numbered(rows):
    return list(enumerate(rows))


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its path in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
