"""Part IV, training: the loop, shards, evaluation and checkpoints.

Nothing here knows of distillation: an objective comes in from outside.
"""
