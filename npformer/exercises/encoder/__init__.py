"""Chapter 4, the encoder: what stands around attention, what stands on it, and what it reads."""

from npformer.exercises.encoder import (
    feed_forward,
    masking,
    pooler,
    post_ln,
    pre_ln,
    tied_head,
    wordpiece,
)

# In the order of the course.
EXERCISES = (
    *feed_forward.EXERCISES,
    *post_ln.EXERCISES,
    *pre_ln.EXERCISES,
    *pooler.EXERCISES,
    *tied_head.EXERCISES,
    *masking.EXERCISES,
    *wordpiece.EXERCISES,
)
