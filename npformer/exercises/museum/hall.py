"""All bugs of the museum, in the order of the course; the blog post's last."""

import importlib

from npformer.exercises.lookup import by_id
from npformer.exercises.museum.bugs import Bug

FILES = """
    gradients forwards attention optimization losses attention_loss distillation
    blog_post blog_student
"""
_MODULES = [importlib.import_module(f"npformer.exercises.museum.{f}") for f in FILES.split()]
BUGS: tuple[Bug, ...] = tuple(
    value for module in _MODULES for value in vars(module).values() if isinstance(value, Bug)
)


def find(bug_id: str) -> Bug:
    """Return the bug of this id.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    return by_id(BUGS, bug_id, "a bug")
