"""All bugs of the museum, in the order of the course; the blog post's last."""

from npformer.checks import InputError
from npformer.exercises.museum import (
    attention,
    attention_loss,
    blog_post,
    blog_student,
    distillation,
    forwards,
    gradients,
    losses,
    optimization,
)
from npformer.exercises.museum.bugs import Bug

BUGS: tuple[Bug, ...] = (
    *gradients.BUGS,
    *forwards.BUGS,
    *attention.BUGS,
    *optimization.BUGS,
    *losses.BUGS,
    *attention_loss.BUGS,
    *distillation.BUGS,
    *blog_post.BUGS,
    *blog_student.BUGS,
)


def find(bug_id: str) -> Bug:
    """Return the bug of this id.

    Raises
    ------
    InputError
        If there is none; it says which ids are like it.
    """
    import difflib

    by_id = {bug.id: bug for bug in BUGS}
    if bug_id not in by_id:
        near = difflib.get_close_matches(bug_id, by_id, n=3) or [*list(by_id)[:3], "..."]
        raise InputError(f"id: got {bug_id!r}, expected a bug such as {', '.join(near)}")
    return by_id[bug_id]
