"""`python -m notebooks`: write the lessons anew, after a change of a master or of an exercise.

`--mark` first marks the Chinese of every text as that of today's English.
"""

import sys
from pathlib import Path

from notebooks.lessons import (
    FOLDER,
    HEADS,
    MASTERS,
    make,
    page_of,
    read,
    target,
    text_of,
    texts_of,
    write_marks,
)
from npformer.exercises.text import LANGUAGES

if __name__ == "__main__":
    if sys.argv[1:] == ["--mark"]:
        write_marks(HEADS, page_of(Path("lessons")))
        for master in MASTERS:
            write_marks(texts_of(read(master)), page_of(master))
    for master in MASTERS:
        for lang in LANGUAGES:
            path = target(master, lang)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text_of(make(master, lang)), encoding="utf-8")
            print(path.relative_to(FOLDER.parent))
