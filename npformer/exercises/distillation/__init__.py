"""Chapter 6, distillation: what a student learns from a teacher, and how that is counted."""

from npformer.exercises.distillation import (
    attention_loss,
    cosine,
    hidden_loss,
    kl,
    mapping,
    minilm,
    pkd,
    soft_targets,
)

# In the order of the course.
EXERCISES = (
    *soft_targets.EXERCISES,
    *kl.EXERCISES,
    *attention_loss.EXERCISES,
    *hidden_loss.EXERCISES,
    *mapping.EXERCISES,
    *pkd.EXERCISES,
    *cosine.EXERCISES,
    *minilm.EXERCISES,
)
