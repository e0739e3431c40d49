"""Chapter 5, optimization: from gradients to better parameters, and how to trust gradients."""

from npformer.exercises.optimization import (
    accumulation,
    adam,
    adamw,
    clipping,
    gradient_checker,
    momentum,
    schedule,
)

# In the order of the course.
EXERCISES = (
    *momentum.EXERCISES,
    *adam.EXERCISES,
    *adamw.EXERCISES,
    *schedule.EXERCISES,
    *clipping.EXERCISES,
    *accumulation.EXERCISES,
    *gradient_checker.EXERCISES,
)
