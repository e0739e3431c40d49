"""A folder of pairs that trains in a second: short words, reversed."""

from pathlib import Path

import numpy as np

SIZES = {"train": 48, "dev": 6, "test": 5}


def write(folder: Path) -> Path:
    """Write the folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        texts = ["".join(rng.choice(list("abc 五"), rng.integers(2, 7))) for _ in range(size)]
        texts = [f"a{text}b" for text in texts]  # no space at an end
        rows = ["source\ttarget", *(f"{text}\t{text[::-1]}" for text in texts)]
        (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n", "utf-8")
    return folder
