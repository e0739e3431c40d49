"""Chapter 7, programs: what the chapters before come to, in one piece."""

from npformer.exercises.programs import multi_head_attention, tinybert_step

# In the order of the course.
EXERCISES = (*multi_head_attention.EXERCISES, *tinybert_step.EXERCISES)
