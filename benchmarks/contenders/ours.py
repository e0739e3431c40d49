"""npformer, by the path that a user has: shards in threads, its own AdamW and clipping."""

from contextlib import ExitStack
from functools import reduce

import numpy as np
from threadpoolctl import threadpool_info

import npformer
from benchmarks.case import PEAK_PRODUCT, Case, Step, Values
from benchmarks.contenders.inputs import (
    LEARNING_RATE,
    MAX_NORM,
    PAD_ID,
    RECIPE,
    SEED,
    WEIGHT_DECAY,
    make_batches,
    make_examples,
    make_model,
    make_projections,
    make_teacher,
)
from npformer.distill.build import build_terms
from npformer.distill.objective import DistillObjective, joint_params
from npformer.optim import AdamW, clip_by_global_norm
from npformer.train.evaluate import predict_logits
from npformer.train.malloc import keep_freed_memory
from npformer.train.objective import Objective, SupervisedObjective, add_results
from npformer.train.parallel import shard_threads
from npformer.types import Params

# The threads live as long as the process: a training loop opens them once, too.
_OPEN = ExitStack()


def make(case: Case) -> Step:
    """Set ``case`` up."""
    keep_freed_memory()
    if case.mode == "train":
        model = make_model(case.shape, case.dropout)
        return _training(case, SupervisedObjective(model), model.params)
    if case.mode == "distill":
        return _distillation(case)
    if case.mode == "infer":
        return _sentence(case) if len(case.lengths[0]) == 1 else _prediction(case)
    return _product()


def about() -> dict[str, str]:
    """Return the version, and which kernels the matrix library has chosen."""
    about = {"version": npformer.__version__, "numpy": np.__version__}
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            about["blas"] = f"{pool['internal_api']} {pool['version']}"
            about["architecture"] = str(pool.get("architecture", "unknown"))
    return about


def _training(case: Case, objective: Objective, params: Params) -> Step:
    run = _OPEN.enter_context(shard_threads(case.threads))
    optimizer = AdamW(weight_decay=WEIGHT_DECAY)
    state = optimizer.init(params)
    batches = make_batches(case)

    def step(i: int, dropout: bool) -> Values:
        results = run(objective, batches[i], [SEED, state.step] if dropout else None)
        result = reduce(add_results, results)
        norm = clip_by_global_norm(result.grads, MAX_NORM)
        optimizer.update(params, result.grads, state, LEARNING_RATE)
        return {name: [v] for name, v in result.values.items()} | {"gradient norm": [norm]}

    return step


def _distillation(case: Case) -> Step:
    student, teacher = make_model(case.shape), make_teacher(case)
    projections = make_projections(case)
    terms = {
        name: term
        for phase in ("intermediate", "prediction")
        for name, term in build_terms(
            RECIPE, phase, student.config, teacher.config, projections
        ).items()
    }
    objective = DistillObjective(student, teacher, terms)
    return _training(case, objective, joint_params(student.params, projections))


def _prediction(case: Case) -> Step:
    model, examples = make_model(case.shape), make_examples(case)
    share = -(-len(case.lengths[0]) // case.threads)  # rows for each thread

    def step(i: int, dropout: bool) -> Values:
        logits = predict_logits(model, examples[i], PAD_ID, batch_size=share, threads=case.threads)
        return {"logits": logits.ravel().tolist()}

    return step


def _sentence(case: Case) -> Step:
    # One sentence cannot be split between threads: here the matrix library's own threads work.
    model, batches = make_model(case.shape), make_batches(case)

    def step(i: int, dropout: bool) -> Values:
        batch = batches[i]
        output, _ = model.forward(batch.ids, batch.keep, batch.segments, recompute=True)
        assert output.logits is not None
        return {"logits": output.logits.ravel().tolist()}

    return step


def _product() -> Step:
    rows, inner, columns = PEAK_PRODUCT
    x, w = np.ones((rows, inner), np.float32), np.ones((inner, columns), np.float32)
    y = np.empty((rows, columns), np.float32)

    def step(i: int, dropout: bool) -> Values:
        np.matmul(x, w, out=y)
        return {}

    return step
