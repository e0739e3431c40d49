"""The bug museum: bugs of published code, written anew, each to be found by a test.

``check_test(id, test)`` runs a learner's ``test(fn)`` on the right code and on the bug.
"""

from npformer.exercises.museum.bugs import Bug
from npformer.exercises.museum.hall import BUGS, find
from npformer.exercises.museum.verdict import TestReport, check_test

__all__ = ["BUGS", "Bug", "TestReport", "check_test", "find"]
