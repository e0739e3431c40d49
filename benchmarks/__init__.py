"""How fast npformer is, next to what people would pick instead: ``python -m benchmarks``.

Every contender runs in a process of its own, on the same weights and the same batches, and the
processes take turns, so that a noisy moment of the machine hits all of them. Nothing is timed
before the contenders have been found to compute the same numbers.

``python -m benchmarks scaling`` measures how npformer's own cost grows.
"""
