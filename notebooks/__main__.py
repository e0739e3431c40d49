"""`python -m notebooks`: write the lessons anew, after a change of a master or of an exercise."""

from notebooks.lessons import FOLDER, LANGUAGES, MASTERS, make, target, text_of

if __name__ == "__main__":
    for master in MASTERS:
        for lang in LANGUAGES:
            path = target(master, lang)
            path.parent.mkdir(exist_ok=True)
            path.write_text(text_of(make(master, lang)), encoding="utf-8")
            print(path.relative_to(FOLDER.parent))
