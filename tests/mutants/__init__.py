"""Wrong backwards, each the mistake its docstring names; test_mutants.py wants every one killed.

A file a part: maps, positions, attention, losses, models. A mutant is made the way the mistake is
made: a term, a factor, an axis of the right formula left out or taken wrongly.
"""

from mutants import attention, losses, maps, positions
from mutants.models import MODEL_MUTANTS
from mutants.registry import MUTANTS, Mutant

__all__ = ["MODEL_MUTANTS", "MUTANTS", "Mutant", "attention", "losses", "maps", "positions"]
