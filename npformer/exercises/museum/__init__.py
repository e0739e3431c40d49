"""The bug museum: bugs of published code, written anew, each to be found by a test.

``check_test(id, test)`` runs a learner's ``test(fn)`` on the right code and on the bug.
"""

from npformer.exercises.museum.bugs import Bug as Bug
from npformer.exercises.museum.hall import BUGS as BUGS
from npformer.exercises.museum.hall import find as find
from npformer.exercises.museum.verdict import TestReport as TestReport
from npformer.exercises.museum.verdict import check_test as check_test
