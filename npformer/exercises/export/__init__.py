"""The exercises as files for a class: nbgrader's notebooks, or student and solution pairs."""

from npformer.exercises.export.write import FORMATS, export

__all__ = ["FORMATS", "export"]
