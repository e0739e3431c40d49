"""What ``npformer learn new`` writes: a small exercise that is complete, to be changed."""

import keyword
import re
from pathlib import Path

from npformer.checks import InputError, shown
from npformer.exercises.own import CHAPTER, OUR_IDS
from npformer.exercises.translation import beside

EXAMPLE = Path(__file__).parent / "weighted_mean.py"
PORTS = ("com", "lpt")
# A file of such a name cannot be made on Windows, or would hide Python's own words.
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in PORTS for n in range(10))}


def new(exercise_id: str, course: Path, chapter: str, *, chinese: bool = False) -> list[Path]:
    """Write an exercise to begin with into a chapter of a course; return its new files.

    Raises
    ------
    InputError
        If the id or the chapter is no such name, or the exercise is there already.
    """
    name = exercise_id.replace("-", "_")
    if not re.fullmatch("[a-z][a-z0-9]*(-[a-z0-9]+)*", exercise_id) or len(exercise_id) > 60:
        raise InputError(f"ID: got {shown(exercise_id)}, expected a name such as weighted-mean")
    if keyword.iskeyword(name) or exercise_id in RESERVED | OUR_IDS:
        raise InputError(f"ID: got {exercise_id!r}, expected a name that nothing else has")
    if not re.fullmatch(rf"(\d+_)?{CHAPTER}", chapter) or chapter in RESERVED:
        raise InputError(f"--chapter: got {shown(chapter)}, expected a name such as 01_sums")
    words = {
        EXAMPLE.stem: name,
        EXAMPLE.stem.upper(): name.upper(),
        EXAMPLE.stem.replace("_", "-"): exercise_id,
    }
    source = course / chapter / f"{name}.py"
    files = {source: EXAMPLE}
    if chinese:
        files[beside(source)] = beside(EXAMPLE)
    for path in files:
        if path.exists() or path.is_symlink():
            raise InputError(f"ID: got {exercise_id!r}, but {shown(str(path))} is there already")
    for path, example in files.items():
        text = example.read_text("utf-8")
        for word, own in words.items():
            text = text.replace(word, own)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    return list(files)
