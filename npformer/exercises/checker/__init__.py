"""The checker: is a learner's function right, and if not, what was the mistake?"""

from npformer.exercises.checker.check import check
from npformer.exercises.checker.grade import grade, property_names
from npformer.exercises.checker.report import Report, Result

__all__ = ["Report", "Result", "check", "grade", "property_names"]
