"""A task of a few sentences in a folder, and a distillation run of a few steps on it."""

from pathlib import Path

WORDS = "film plot cast score end joke scene book dish room".split()
GOOD, BAD = "fine warm bright clever".split(), "dull cold flat stale".split()
PHASES = ("pretrain", "general", "finetune", "intermediate", "prediction", "scratch")
# Sizes and steps of a run; a phase saves at every fourth of its steps.
SETTINGS = {
    "teacher": "2x16x2",
    "student": "1x8x2",
    "batch_size": 5,
    "copies": 1,
    "max_len": 16,
    "steps": {phase: 9 + i for i, phase in enumerate(PHASES)},
}
OPTIONS = [
    *("--teacher", "2x16x2", "--student", "1x8x2", "--batch-size", "5", "--copies", "1"),
    *("--max-len", "16"),
    *(f"--steps={phase}={9 + i}" for i, phase in enumerate(PHASES)),
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
        lines = [_line(kind, i, text, good) for i, (text, good) in enumerate(rows)]
        header = {"pair": "a\tb\tlabel", "regression": "sentence\tscore"}
        lines.insert(0, header.get(kind, "sentence\tlabel"))
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def _line(kind: str, i: int, text: str, good: bool) -> str:
    if kind == "pair":
        return f"{text}\tthey {'liked' if i % 3 else 'left'} it\t{int(good)}"
    label = {
        "single": int(good),
        "strings": "yes" if good else "no",
        "three": i % 3,
        "regression": 3.5 * good + 0.1 * i,
    }
    return f"{text}\t{label[kind]}"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by its path in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
