"""Chapter 3, positions: added, looked up by distance, or turned in."""

from npformer.exercises.positions import alibi, learned, relative_bias, rotary, sinusoidal

# In the order of the course.
EXERCISES = (
    *sinusoidal.EXERCISES,
    *learned.EXERCISES,
    *relative_bias.EXERCISES,
    *rotary.EXERCISES,
    *alibi.EXERCISES,
)
