"""The checker: is a learner's function right, and if not, what was the mistake?"""

from npformer.exercises.checker.check import check as check
from npformer.exercises.checker.grade import grade as grade
from npformer.exercises.checker.grade import property_names as property_names
from npformer.exercises.checker.report import Report as Report
from npformer.exercises.checker.report import Result as Result
