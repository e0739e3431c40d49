"""All bugs of the museum, in the order of the course; the blog post's last."""

from npformer.exercises.lookup import by_id
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
    return by_id(BUGS, bug_id, "a bug")
