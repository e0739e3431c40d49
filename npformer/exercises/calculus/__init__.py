"""Chapter 1, calculus: the maps a Transformer is made of, and their gradients."""

from npformer.exercises.calculus import softmax

# In the order of the course.
EXERCISES = (*softmax.EXERCISES,)
