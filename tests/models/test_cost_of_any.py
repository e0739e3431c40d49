"""The bill of every model: decoders, encoder-decoders, grouped heads, each scheme of positions.

Against what real models have: their arrays, the products they ask for, what their caches hold.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from models import small, small_causal_lm, small_seq2seq
from models.test_cost import dropout, formulas_only, held, products, traced

from npformer.checks import InputError
from npformer.layers.relative import SCHEMES, Scheme
from npformer.layers.shapes import Axis
from npformer.models import CausalLM, CausalLMConfig, Seq2Seq, Seq2SeqConfig
from npformer.models.cost import PARTS, Workload, count_multiply_adds, count_parameters, of_layers
from npformer.models.cost_memory import LONGEST, count_kept, count_memory

assert formulas_only  # a fixture
B, T, S = 3, 5, 7
LLAMA = {"norm": "rms", "gated": True, "use_bias": False, "activation": "silu"}
GROUPED = {"num_heads": 6, "num_kv_heads": 2}
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "gpt2": (small_causal_lm, {}),
    "gpt2, dropout": (small_causal_lm, {"dropout": 0.1, "attention_dropout": 0.1}),
    "post-LN": (small_causal_lm, {"norm_first": False}),
    "sinusoids": (small_causal_lm, {"positions": "sinusoidal"}),
    "grouped heads": (small_causal_lm, GROUPED),
    "llama": (small_causal_lm, GROUPED | LLAMA | {"relative": "rotary", "positions": "none"}),
    "alibi": (small_causal_lm, {"relative": "alibi"}),
    "shaw": (small_causal_lm, {"relative": "shaw", "dropout": 0.1}),
    "deberta": (small_causal_lm, {"relative": "deberta"}),
    "average": (small_causal_lm, {"attention": "average"}),
    "original": (small_seq2seq, {"dropout": 0.1, "attention_dropout": 0.1}),
    "marian": (
        small_seq2seq,
        {"target_vocab_size": 23, "shared_embeddings": True, "activation": "silu"},
    ),
    "t5": (
        small_seq2seq,
        LLAMA
        | {"target_vocab_size": 23, "shared_embeddings": True, "relative": "t5", "dropout": 0.1}
        | {"positions": "none", "norm_first": True, "scale_output": True},
    ),
    "seq2seq, grouped": (small_seq2seq, GROUPED | {"norm_first": True}),
    "seq2seq, shaw": (small_seq2seq, {"relative": "shaw"}),
    "seq2seq, average": (small_seq2seq, {"attention": "average"}),
    "encoder, pre-LN": (small, {"kind": "encoder", "norm_first": True}),
    "masked LM, deberta": (small, {"kind": "masked_lm", "relative": "deberta"}),
}
every = pytest.mark.parametrize("case", CASES)


def make(case, **changes):
    module, options = CASES[case]
    model = module.make(**options | changes)
    params = {name: p.astype(np.float32) for name, p in model.params.items()}
    return type(model)(model.config, params)


def workload(model, batch_size=B, seq_len=T, source_len=S):
    source = source_len if isinstance(model, Seq2Seq) else None
    return Workload(
        kind=type(model),
        config=model.config,
        batch_size=batch_size,
        seq_len=seq_len,
        source_len=source,
    )


def inputs(work):
    lengths = (work.source, work.seq_len) if work.kind is Seq2Seq else (work.seq_len,)
    rng = np.random.default_rng(1)
    return tuple(rng.integers(0, 19, (work.batch_size, n)) for n in lengths)


@every
def test_parameters_are_those_of_the_arrays(case):
    model = make(case)
    counts = count_parameters(workload(model))
    assert list(counts) == list(PARTS)
    assert sum(counts.values()) == sum(p.size for p in model.params.values())
    in_layers = sum(p.size for name, p in model.params.items() if "layers." in name)
    outside = ("norm.gamma", "norm.beta", "relative_bias", "relative_embeddings")
    names = [n for n in model.params if n.endswith(outside) and "embeddings.g" not in n]
    once = sum(model.params[n].size for n in names if "layers." not in n)
    assert of_layers(counts) == in_layers + once


# Shaw's and DeBERTa's positions are products too, which are not counted.
@pytest.mark.parametrize(
    "case", [c for c in CASES if not any(word in c for word in ("shaw", "deberta"))]
)
def test_multiply_adds_are_those_of_a_forward(case, formulas_only):
    model = make(case)
    work = workload(model)
    counts = count_multiply_adds(work)
    found = products(lambda m: m.forward(*inputs(work)), model)
    if model.config.attention == "average":  # queries and keys of zeros, which no tracer follows
        attended = sum(counts[f"{stack}: scores and mix"] for stack in work.stacks)
        found += attended * model.config.num_heads // (model.config.num_heads + 12)
    assert found == sum(counts.values())


@every
def test_kept_is_what_the_cache_and_the_output_hold(case):
    model = make(case)
    work = workload(model)
    everything = model.forward(*inputs(work), rng=dropout())
    kept = count_kept(work)
    assert list(kept) == list(PARTS)
    assert sum(kept.values()) == count_memory(work).kept == held(everything, model.params)


@every
def test_recomputed_is_less_by_all_layers_but_one(case):
    model = make(case)
    work = workload(model)
    everything = model.forward(*inputs(work), rng=dropout(), recompute=True)
    left, memory = held(everything, model.params), count_memory(work)
    assert sum(count_kept(work, recompute=True).values()) == left
    assert left < memory.recomputed < memory.kept


@every
def test_the_kv_cache(case):
    model = make(case)
    work = workload(model)
    if not isinstance(model, CausalLM | Seq2Seq):
        assert count_memory(work).key_values == 0
        return
    ids = inputs(work)
    _, state = model.step(ids[-1], model.start(ids[0]))
    assert count_memory(work).key_values == held(state.layers, model.params)


LARGER = {"d_model": 60, "d_ff": 170, "max_len": 1100}


@pytest.mark.parametrize("case", CASES)
def test_memory_is_what_is_measured(case):
    model = make(case, **LARGER)
    work = workload(model, 16, 60, 50)
    ids = inputs(work)
    given = sum(i.nbytes for i in ids)
    memory = count_memory(work)
    kept, _ = traced(lambda: model.forward(*ids, rng=dropout()))
    assert kept + given == pytest.approx(memory.kept, rel=0.015)
    _, peak = traced(lambda: model.forward(*ids, recompute=True))
    assert peak + given == pytest.approx(memory.prediction, rel=0.05)


@pytest.mark.parametrize("case", ["gpt2", "t5"])
def test_long_sequences_go_block_by_block(case):
    model = make(case, max_len=1100)
    work = workload(model, 1, 1030, 1040)
    everything = model.forward(*inputs(work), rng=dropout())
    assert sum(count_kept(work).values()) == held(everything, model.params)


def test_a_very_long_sequence_is_asked_about_with_a_shorter_one():
    config = CausalLMConfig(
        vocab_size=50, max_len=10**6, d_model=8, num_heads=2, d_ff=9, num_layers=3
    )
    asked, longer, longest = (
        count_memory(Workload(kind=CausalLM, config=config, seq_len=n)).kept
        for n in (LONGEST, 2 * LONGEST, 3 * LONGEST)
    )
    square = longest - 2 * longer + asked  # a mask of T x T remains
    assert square == 2 * LONGEST**2
    _, peak = traced(lambda: count_memory(Workload(kind=CausalLM, config=config, seq_len=10**6)))
    assert peak < 100 * 2**20


class LogDistance(Scheme):
    """A scheme that the library does not know: a learned weight of the log distance."""

    @classmethod
    def layer_shapes(cls, config):
        return {"slope": (Axis("H", config.num_heads),)}

    @classmethod
    def stack_shapes(cls, config):
        return {"shift": (Axis("H", config.num_heads),)}

    def bias_forward(self, q, k, shared, offset):
        far = np.arange(k.shape[2]) - np.arange(offset, offset + q.shape[2])[:, None]
        logs = np.log1p(np.abs(far)).astype(q.dtype)  # (T, S)
        return self.params["slope"][None, :, None, None] * logs, logs


@pytest.mark.parametrize(
    ("kind", "module"), [(CausalLM, small_causal_lm), (Seq2Seq, small_seq2seq)]
)
def test_a_scheme_that_nobody_has_written_yet(kind, module, monkeypatch):
    monkeypatch.setitem(SCHEMES, "log", LogDistance)
    model = module.make(relative="log")
    model = kind(model.config, {n: p.astype(np.float32) for n, p in model.params.items()})
    work = workload(model)
    counts = count_parameters(work)
    assert sum(counts.values()) == sum(p.size for p in model.params.values())
    positions = [n for part, n in counts.items() if part.endswith(": positions")]
    depths = [depth + 1 for depth, _ in work.stacks.values()]
    assert sum(positions) == sum(depths) * model.config.num_heads
    everything = model.forward(*inputs(work), rng=dropout())
    assert sum(count_kept(work).values()) == held(everything, model.params)


def test_an_encoder_decoder_has_two_lengths():
    model = make("original")
    counts = {
        n: count_multiply_adds(replace(workload(model), source_len=n))["encoder: feed-forward"]
        for n in (2, 6)
    }
    assert counts[6] == 3 * counts[2] > 0
    config = Seq2SeqConfig(**small_seq2seq.SIZES)
    with pytest.raises(InputError, match="source_len: got 10, expected at most max_len = 9"):
        Workload(kind=Seq2Seq, config=config, seq_len=5, source_len=10)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"d_model": 2 * 10**6, "num_heads": 10**6}, "num_heads: got 1000000, expected at most 65"),
        (
            {"d_model": 2**31 - 2, "vocab_size": 2**31 - 1},
            "config: got an array of 4611686011984936962 ",
        ),
    ],
)
def test_absurd_sizes_are_refused(sizes, said):
    config = CausalLMConfig(
        **{"vocab_size": 50, "num_heads": 2, "d_model": 8, "max_len": 200} | sizes,
        **{"relative": "alibi", "d_ff": 9, "num_layers": 3},
    )
    with pytest.raises(InputError, match=said):
        count_memory(Workload(kind=CausalLM, config=config))
