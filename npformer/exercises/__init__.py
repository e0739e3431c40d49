"""Part VII, exercises that know what you did wrong.

    >>> from npformer.exercises import check, hint, solution, status
    >>> check("softmax", my_softmax)  # doctest: +SKIP

Here for a notebook; ``npformer learn`` is the same in a terminal. A chapter is a folder, `course` has
their order, `exercise` says what an exercise is, `checker` finds what is wrong.
"""

from npformer.exercises.notebook import Checked, Progress, Shown

PROGRESS = Progress()  # of this session
check = PROGRESS.check
hint = PROGRESS.hint
solution = PROGRESS.solution
status = PROGRESS.status

__all__ = ["PROGRESS", "Checked", "Progress", "Shown", "check", "hint", "solution", "status"]
