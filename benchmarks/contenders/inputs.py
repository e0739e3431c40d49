"""The same weights and the same batches for every contender."""

import numpy as np

from benchmarks.case import Case
from benchmarks.sizes import MAPPING, Shape
from npformer.data.batches import Batch, Encoded, collate
from npformer.distill.build import init_projections
from npformer.distill.recipes import RECIPES, Recipe
from npformer.models import SequenceClassifier
from npformer.types import IntArray, Params

SEED = 3
LEARNING_RATE = 2e-5
WEIGHT_DECAY = 0.01
MAX_NORM = 1.0
PAD_ID = 0
RECIPE = Recipe.from_dict({**RECIPES["corrected"].to_dict(), "mapping": MAPPING})


def make_model(shape: Shape, dropout: float = 0.0, seed: int = SEED) -> SequenceClassifier:
    """Draw a classifier; the seed is all that it depends on."""
    return SequenceClassifier.init(shape.config(dropout), np.random.default_rng(seed))


def make_teacher(case: Case) -> SequenceClassifier:
    """Draw the teacher, from another seed than the student."""
    if case.teacher is None:
        raise ValueError(f"no teacher in {case.title}")
    return make_model(case.teacher, seed=SEED + 1)


def make_projections(case: Case) -> Params:
    """Draw the matrices between the student's width and the teacher's."""
    if case.teacher is None:
        raise ValueError(f"no teacher in {case.title}")
    rng = np.random.default_rng(SEED + 2)
    return init_projections(RECIPE, case.shape.config(), case.teacher.config(), rng)


def make_examples(case: Case) -> list[Encoded]:
    """Draw the token ids and labels of each batch, not padded."""
    rng = np.random.default_rng(SEED)
    batches = []
    for lengths in case.lengths:
        ids: list[IntArray] = [rng.integers(1, case.shape.vocab_size, n) for n in lengths]
        labels = rng.integers(0, case.shape.num_classes, len(lengths))
        batches.append(Encoded(ids, [np.zeros(n, np.int64) for n in lengths], labels))
    return batches


def make_batches(case: Case) -> list[Batch]:
    """Draw the same batches as `make_examples`, padded."""
    return [collate(e, range(len(e)), PAD_ID) for e in make_examples(case)]
