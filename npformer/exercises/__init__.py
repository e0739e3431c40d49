"""Part VII, exercises that know what you did wrong.

    >>> from npformer.exercises import check, hint, solution, status
    >>> check("softmax", my_softmax)  # doctest: +SKIP

Here for a notebook; ``npformer learn`` is the same in a terminal. A chapter is a folder,
an exercise a file in it: `course` has their order, `exercise` says what one is, `checker` finds
what is wrong. All is said in English; `translation` finds the Chinese beside it.
"""

from npformer.exercises.notebook import Checked as Checked
from npformer.exercises.notebook import Progress as Progress
from npformer.exercises.notebook import Shown as Shown
from npformer.exercises.own import open_course as open_course

PROGRESS = Progress()  # of this session
check = PROGRESS.check
hint = PROGRESS.hint
solution = PROGRESS.solution
status = PROGRESS.status
