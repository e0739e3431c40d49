"""The cost model against published counts, and against real arrays, products and memory."""

import gc
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from models.small import CLASSES, MODELS, inputs, make, random_like

from benchmarks.tracing import Counts, trace
from npformer import AdamW, ops
from npformer.checks import InputError
from npformer.distill.build import init_projections
from npformer.distill.recipes import find_recipe
from npformer.layers import attend
from npformer.layers.feedforward import ACTIVATIONS
from npformer.layers.seeds import generator_of
from npformer.models import (
    ClassifierConfig,
    Encoder,
    EncoderConfig,
    MaskedLM,
    ModelOutput,
    SequenceClassifier,
    TokenClassifier,
    preset,
)
from npformer.models.config import size
from npformer.models.cost import (
    PARTS,
    PUBLISHED_SPEED_UP,
    Workload,
    count_multiply_adds,
    count_parameters,
    layer_flops,
    of_layers,
    projection_parameters,
    published_speed_up,
)
from npformer.models.cost_memory import count_kept, count_memory
from npformer.models.huggingface import save_pretrained
from npformer.ops import layernorm, linear

every_kind = pytest.mark.parametrize("kind", MODELS)
tables = pytest.mark.parametrize("embedding_size", [None, 7], ids=["bert", "albert"])
B, T = 4, 7  # of `inputs`


def published(name, **more):
    return Workload(kind=Encoder, config=preset(name), pooler=True, **more)


def workload(model, batch_size=B, seq_len=T):
    return Workload(kind=type(model), config=model.config, batch_size=batch_size, seq_len=seq_len)


# --- published counts ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "gflop"),
    [
        ("bert-base", 109_482_240, "22.347"),
        ("tinybert-4", 14_350_248, "1.247"),
        ("tinybert-6", 66_955_008, "11.174"),
    ],
)
def test_published_counts(name, parameters, gflop):
    work = published(name)
    assert sum(count_parameters(work).values()) == parameters
    assert f"{layer_flops(work) / 1e9:.3f}" == gflop


def test_the_pooler_is_counted_with_the_parameters_and_not_with_the_operations():
    work = published("bert-base")
    without = replace(work, pooler=False)
    assert sum(count_parameters(without).values()) == 109_482_240 - (768 + 1) * 768
    pooler = count_multiply_adds(work)["pooler"]
    assert f"{(layer_flops(work) + 2 * pooler) / 1e9:.3f}" == "22.348"
    assert layer_flops(without) == layer_flops(work)


def test_three_ratios_of_tinybert_4():
    student, teacher = published("tinybert-4"), published("bert-base")
    small, large = (sum(count_parameters(work).values()) for work in (student, teacher))
    projection = projection_parameters(student.config, teacher.config)
    assert small + projection == 14_590_632
    assert f"{large / small:.2f}" == "7.63"
    assert f"{large / (small + projection):.2f}" == "7.50"
    assert f"{layer_flops(teacher) / layer_flops(student):.2f}" == "17.92"
    assert published_speed_up(student.config, teacher.config) == 9.4


def test_a_published_time_belongs_to_one_pair():
    base = preset("bert-base")
    assert published_speed_up(preset("tinybert-6"), base) == 2.0
    assert published_speed_up(preset("tinybert-4"), preset("tinybert-6")) is None
    assert published_speed_up(base, base) is None
    assert published_speed_up(replace(base, **size("4x128x4")), base) is None
    assert set(PUBLISHED_SPEED_UP.values()) == {9.4, 5.7, 3.0, 2.0}


def test_the_projection_is_that_of_the_released_recipe():
    student = EncoderConfig(vocab_size=9, max_len=5, d_model=6, num_heads=2, num_layers=2, d_ff=7)
    teacher = replace(student, d_model=10, num_layers=4)
    rng = np.random.default_rng(0)
    arrays = init_projections(find_recipe("released"), student, teacher, rng)
    assert projection_parameters(student, teacher) == sum(a.size for a in arrays.values())


def test_what_the_paper_prints_follows_no_one_rule():
    """The numbers of docs/cost.md: Jiao et al. 2020, table 1, and the nearest counts."""
    base = preset("bert-base")
    found = {}
    for name in ("12x768", "4x312x12x1200", "4x512", "4x768", "6x768"):
        config = replace(base, **size(name))
        work = Workload(kind=Encoder, config=config, pooler=True)
        parameters, pooler = count_parameters(work), count_multiply_adds(work)["pooler"]
        flops = layer_flops(work)
        everywhere = flops + 2 * 128 * pooler  # as if the pooler read every token
        found[name] = (
            sum(parameters.values()),
            sum(parameters.values()) - parameters["pooler"],
            projection_parameters(config, base),
            f"{flops / 1e9:.3f} {everywhere / 1e9:.3f}",
        )
    assert found["12x768"] == (109_482_240, 108_891_648, 590_592, "22.347 22.498")
    assert found["4x312x12x1200"] == (14_350_248, 14_252_592, 240_384, "1.247 1.272")
    assert found["4x512"] == (28_763_648, 28_500_992, 393_984, "3.355 3.423")
    assert found["4x768"] == (52_779_264, 52_188_672, 590_592, "7.449 7.600")
    assert found["6x768"] == (66_955_008, 66_364_416, 590_592, "11.174 11.325")
    assert 14_252_592 + 240_384 == 14_492_976
    assert 28_763_648 + 393_984 == 29_157_632


# --- against real models ---------------------------------------------------------------------


@tables
@every_kind
def test_parameters_are_those_of_the_arrays(kind, embedding_size):
    model = make(kind, embedding_size=embedding_size)
    counts = count_parameters(workload(model))
    assert list(counts) == list(PARTS)
    assert sum(counts.values()) == sum(p.size for p in model.params.values())
    expected = {
        "embeddings: ": "embeddings.",
        "embeddings: projection": "embeddings.projection.",
        "layers: ": "layers.",
        "layers: projections": ".attention.",
        "layers: feed-forward": ".feedforward.",
        "pooler": "pooler.",
        "classifier": "classifier.",
        "head: ": "head.",
    }
    for part, name in expected.items():
        arrays = sum(p.size for key, p in model.params.items() if name in key)
        assert sum(n for key, n in counts.items() if key.startswith(part)) == arrays, part


@pytest.fixture
def formulas_only(monkeypatch):
    """Make the sums that are computed as products with a vector sums again."""

    monkeypatch.setattr(layernorm, "mean", lambda x: x.mean(axis=-1, keepdims=True))
    for module in (layernorm, linear):
        monkeypatch.setattr(module, "sum_rows", lambda x: x.reshape(-1, x.shape[-1]).sum(axis=0))


def products(step, model):
    """Return the multiply-adds of the matrix products in a step of a model."""
    counts = Counts()
    params = {name: trace(p, counts) for name, p in model.params.items()}
    step(type(model)(model.config, params))
    assert counts.flops % 2 == 0
    return counts.flops // 2


@tables
@every_kind
def test_multiply_adds_are_those_of_a_forward(kind, embedding_size, formulas_only):
    model = make(kind, dtype=np.float32, embedding_size=embedding_size)
    counts = count_multiply_adds(workload(model))
    assert products(lambda m: m.forward(*inputs()), model) == sum(counts.values())


@tables
@every_kind
@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_step_has_three_times_as_many(kind, recompute, embedding_size, formulas_only):
    model = make(kind, dtype=np.float32, embedding_size=embedding_size)

    def step(model):
        output, cache = model.forward(*inputs(), recompute=recompute)
        model.backward(random_like(output), cache)

    counts = count_multiply_adds(workload(model))
    again = of_layers(counts) if recompute else 0
    assert products(step, model) == 3 * sum(counts.values()) + again


def test_multiply_adds_of_each_part_of_a_layer():
    config = EncoderConfig(vocab_size=5, max_len=9, d_model=6, num_heads=2, num_layers=3, d_ff=7)
    counts = count_multiply_adds(Workload(kind=Encoder, config=config, batch_size=2, seq_len=5))
    assert {part: n for part, n in counts.items() if n} == {
        "layers: projections": 3 * 4 * (10 * 6 * 6),
        "layers: scores and mix": 3 * 2 * (2 * 2 * 5 * 5 * 3),  # B H T T K
        "layers: feed-forward": 3 * 2 * (10 * 6 * 7),
    }


def test_a_factorised_table():
    """The numbers of docs/cost.md, added up by hand."""
    config = replace(preset("bert-base"), **size("3x128x4x512"), embedding_size=64)
    work = Workload(kind=Encoder, config=config, pooler=True)
    counts = count_parameters(work)
    assert counts["embeddings: token"] == 30522 * 64 == 1_953_408
    assert counts["embeddings: norm"] == 2 * 64
    assert counts["embeddings: projection"] == 64 * 128 + 128
    layer = 4 * (128 * 128 + 128) + (128 * 512 + 512) + (512 * 128 + 128) + 2 * 2 * 128
    rest = (512 + 2) * 64 + 2 * 64 + 64 * 128 + 128 + 3 * layer + 128 * 128 + 128
    assert sum(counts.values()) == 1_953_408 + rest == 2_606_080
    whole = replace(work, config=replace(config, embedding_size=None))
    assert sum(count_parameters(whole).values()) == 4_584_192
    assert count_multiply_adds(work)["embeddings: projection"] == 128 * 64 * 128
    assert count_multiply_adds(whole)["embeddings: projection"] == 0
    assert layer_flops(work) == layer_flops(whole)
    masked = count_multiply_adds(replace(work, kind=MaskedLM, pooler=False))
    assert masked["head: transform"] == 128 * 128 * 64
    assert masked["head: output"] == 128 * 64 * 30522


def test_bytes_on_disk_are_the_parameters_and_the_header(tmp_path):
    model = make("sequence", dtype=np.float32)
    save_pretrained(model, tmp_path / "model")
    written = (tmp_path / "model" / "model.safetensors").read_bytes()
    header = int.from_bytes(written[:8], "little")
    assert len(written) == 8 + header + count_memory(workload(model)).parameters


# --- memory ----------------------------------------------------------------------------------

# kind, what its configuration has beside the sizes, B and T
DISTIL = {"num_segments": 0, "tanh_pooler": False, "relu_before_classifier": True}
KEPT = [
    ("encoder", {}, 3, 50),
    ("encoder", {"dropout": 0.1}, 3, 50),
    ("encoder", {"attention_dropout": 0.1}, 3, 50),
    ("encoder", {"activation": "relu", "dropout": 0.1}, 3, 50),
    ("encoder", {"activation": "silu"}, 3, 50),
    ("encoder", {"activation": "gelu_tanh"}, 3, 50),
    ("encoder", {"attention_dropout": 0.1}, 2, 1030),  # block by block
    ("encoder", {"embedding_size": 23}, 3, 50),
    ("encoder", {"embedding_size": 23, "dropout": 0.1}, 3, 50),
    ("sequence", {}, 3, 50),
    ("sequence", {"dropout": 0.1, "attention_dropout": 0.1}, 3, 50),
    ("sequence", {"relu_before_classifier": True}, 3, 50),
    ("sequence", {"relu_before_classifier": True, "dropout": 0.1}, 3, 50),
    ("encoder", {"num_segments": 0}, 3, 50),
    ("sequence", DISTIL, 3, 50),
    ("sequence", DISTIL | {"dropout": 0.1}, 3, 50),
    ("masked_lm", {"num_segments": 0}, 3, 50),
    ("token", {}, 3, 50),
    ("token", {"dropout": 0.1, "attention_dropout": 0.1}, 3, 50),
    ("masked_lm", {}, 3, 50),
    ("masked_lm", {"activation": "relu", "dropout": 0.1, "attention_dropout": 0.1}, 3, 50),
    ("masked_lm", {"embedding_size": 23, "dropout": 0.1}, 3, 50),
]
every_case = pytest.mark.parametrize(("kind", "options", "batch_size", "seq_len"), KEPT)


def not_tiny(kind, options, batch_size, seq_len, vocab_size=301):
    """Return a model whose arrays outweigh Python's objects, its workload and a batch."""
    sizes = {"d_model": 60, "num_heads": 5, "num_layers": 3, "d_ff": 170, "max_len": 1100}
    model = make(kind, dtype=np.float32, vocab_size=vocab_size, **sizes | options)
    ids = np.random.default_rng(3).integers(0, vocab_size, (batch_size, seq_len))
    return model, workload(model, batch_size, seq_len), ids


def dropout():
    return np.random.default_rng(4)


def held(values, params):
    """Return the bytes of all arrays in nested tuples, each once, parameters not counted."""
    found = {}

    def walk(value):
        if isinstance(value, np.ndarray):
            while isinstance(value.base, np.ndarray):
                value = value.base
            found[id(value)] = value
        elif isinstance(value, tuple):
            for item in value:
                walk(item)

    walk(values)
    owned = {id(p) for p in params.values()}
    return sum(a.nbytes for key, a in found.items() if key not in owned)


def encoder_of(model, cache):
    return (model, cache) if isinstance(model, Encoder) else (model.encoder, cache.encoder)


@every_case
def test_kept_is_what_the_cache_and_the_output_hold(kind, options, batch_size, seq_len):
    model, work, ids = not_tiny(kind, options, batch_size, seq_len)
    kept = count_kept(work)
    everything = model.forward(ids, rng=dropout())
    assert sum(kept.values()) == count_memory(work).kept == held(everything, model.params)
    _, cache = encoder_of(model, everything[1])
    blocks = held((*cache.blocks, cache.last), model.params)
    entered = held((cache.blocks[0].attention.key_value.v.x,), model.params)
    assert of_layers(kept) == blocks - entered
    assert kept["layers: scores and mix"] > 0
    assert kept["layers: feed-forward"] == held(
        tuple((b.feedforward.activation, b.feedforward.out.x) for b in cache.blocks),
        model.params,
    )


@every_case
def test_recomputed_is_what_backward_has_when_it_runs_a_layer_again(
    kind, options, batch_size, seq_len
):
    model, work, ids = not_tiny(kind, options, batch_size, seq_len)
    output, cache = model.forward(ids, rng=dropout(), recompute=True)
    encoder, inner = encoder_of(model, cache)
    x, others, seed, options = inner.blocks[2]
    again = encoder._block(2).forward(x, *others, rng=generator_of(seed), **options)
    memory = count_memory(work)
    assert memory.recomputed == held((output, cache, again), model.params)
    assert memory.recomputed < memory.kept
    assert memory.training - memory.training_recomputed == memory.kept - memory.recomputed


def traced(call):
    """Return the memory that a call has left and the most that it took, after a first call."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        result = call()
        now, peak = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return now, peak


LARGER = [
    ("encoder", {"dropout": 0.1, "attention_dropout": 0.1}, 16, 60, 301),
    ("encoder", {"activation": "relu"}, 16, 60, 301),
    ("encoder", {"activation": "gelu_tanh"}, 16, 60, 301),
    ("encoder", {"activation": "relu", "d_ff": 400}, 16, 60, 301),  # what relu lets go of
    ("encoder", {}, 1, 500, 301),  # the probabilities are the largest arrays
    ("encoder", {}, 1, 1030, 301),
    ("sequence", {"relu_before_classifier": True}, 16, 60, 301),
    ("token", {}, 16, 60, 301),
    ("masked_lm", {}, 3, 60, 8000),  # the logits are
    ("masked_lm", {"embedding_size": 5}, 12, 60, 1800),
    ("encoder", {"embedding_size": 23}, 16, 60, 301),
]


@pytest.mark.parametrize(("kind", "options", "batch_size", "seq_len", "vocab_size"), LARGER)
def test_memory_is_what_is_measured(kind, options, batch_size, seq_len, vocab_size):
    model, work, ids = not_tiny(kind, options, batch_size, seq_len, vocab_size)
    memory = count_memory(work)
    kept, _ = traced(lambda: model.forward(ids, rng=dropout()))
    assert kept + ids.nbytes == pytest.approx(memory.kept, rel=0.01)
    _, peak = traced(lambda: model.forward(ids, recompute=True))
    assert peak + ids.nbytes == pytest.approx(memory.prediction, rel=0.015)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_training_step_takes_at_least_what_is_said_and_not_much_more(recompute):
    options = {"dropout": 0.1, "attention_dropout": 0.1}
    model, work, ids = not_tiny("sequence", options, 16, 60)
    labels = np.random.default_rng(5).integers(0, CLASSES, len(ids))
    optimizer = AdamW()

    def step():
        state = optimizer.init(model.params)
        output, cache = model.forward(ids, rng=dropout(), recompute=recompute)
        _, loss_cache = ops.cross_entropy_forward(output.logits, labels)
        del output
        dlogits = ops.cross_entropy_backward(1.0, loss_cache)
        _, grads = model.backward(ModelOutput(logits=dlogits), cache)
        optimizer.update(model.params, grads, state, 1e-4)

    memory = count_memory(work)
    _, peak = traced(step)
    least = memory.training_recomputed if recompute else memory.training
    a_layer = of_layers(count_kept(work)) // model.config.num_layers
    assert least <= peak + memory.parameters <= least + a_layer


def test_gradients_and_the_state_of_adam():
    model = make("sequence", dtype=np.float32)
    memory = count_memory(workload(model))
    output, cache = model.forward(*inputs())
    _, grads = model.backward(random_like(output), cache)
    assert memory.gradients == sum(g.nbytes for g in grads.values())
    state = AdamW().init(model.params)
    assert memory.optimizer == sum(a.nbytes for a in state.to_arrays().values())


def test_every_activation_is_counted():
    counted = {options.get("activation", "gelu") for _, options, *_ in KEPT}
    assert counted == ACTIVATIONS.keys()


def test_attention_goes_block_by_block_from_the_same_length_on():
    side = math.isqrt(attend.BLOCKWISE_FROM)
    config = replace(preset("bert-base"), max_len=2 * side)
    whole, blocks = (
        count_kept(Workload(kind=Encoder, config=config, seq_len=n))["layers: scores and mix"]
        for n in (side - 1, side)
    )
    assert blocks < whole / 10


# --- any size, and what is refused -----------------------------------------------------------


def test_no_array_is_made():
    config = replace(preset("bert-base"), **size("96x12288x96"))
    work = Workload(kind=Encoder, config=config, batch_size=1000, seq_len=512)
    _, peak = traced(
        lambda: (count_parameters(work), count_multiply_adds(work), count_memory(work))
    )
    assert peak < 2**20
    assert sum(count_parameters(work).values()) > 170e9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seq_len": 513}, "seq_len: got 513, expected at most max_len = 512"),
        ({"seq_len": 0}, "seq_len: got 0, expected a whole number of at least 1"),
        ({"batch_size": -1}, "batch_size: got -1, expected a whole number of at least 1"),
        ({"kind": MaskedLM}, "pooler: got True, expected False for a MaskedLM"),
        ({"source_len": 7}, "source_len: got 7, expected None for an Encoder"),
    ],
)
def test_refused(options, said):
    with pytest.raises(InputError) as caught:
        Workload(**{"kind": Encoder, "config": preset("bert-base"), "pooler": True, **options})
    assert str(caught.value) == said


def test_a_classifier_counts_its_classes():
    sizes = preset("tinybert-4").to_dict()
    for kind, rows in ((SequenceClassifier, 2), (TokenClassifier, 2 * 128)):
        config = ClassifierConfig(**sizes, num_classes=3)
        work = Workload(kind=kind, config=config, batch_size=2)
        assert count_parameters(work)["classifier"] == 312 * 3 + 3
        assert count_multiply_adds(work)["classifier"] == rows * 312 * 3
