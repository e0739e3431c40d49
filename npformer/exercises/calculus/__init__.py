"""Chapter 1, calculus: the maps a Transformer is made of, and their gradients."""

from npformer.exercises.calculus import (
    cross_entropy,
    dropout,
    embedding,
    gelu,
    label_smoothing,
    layer_norm,
    linear,
    log_softmax,
    relu,
    residual,
    rms_norm,
    sigmoid,
    softmax,
)

# In the order of the course.
EXERCISES = (
    *linear.EXERCISES,
    *relu.EXERCISES,
    *sigmoid.EXERCISES,
    *gelu.EXERCISES,
    *softmax.EXERCISES,
    *log_softmax.EXERCISES,
    *cross_entropy.EXERCISES,
    *label_smoothing.EXERCISES,
    *layer_norm.EXERCISES,
    *rms_norm.EXERCISES,
    *dropout.EXERCISES,
    *embedding.EXERCISES,
    *residual.EXERCISES,
)
