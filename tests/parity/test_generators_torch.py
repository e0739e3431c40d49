"""Folders of GPT-2, T5 and Marian: read from transformers, written for it, the same tokens."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from npformer.checks import InputError
from npformer.models import (
    CausalLM,
    Encoder,
    Seq2Seq,
    beam_search,
    from_pretrained,
    greedy_search,
    save_pretrained,
)

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # transformers speaks of its own future
]
V, T, S = 23, 6, 7


def gpt2(**changes):
    config = transformers.GPT2Config(
        vocab_size=V,
        n_positions=12,
        n_embd=12,
        n_layer=2,
        n_head=3,
        n_inner=10,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **changes,
    )
    return transformers.GPT2LMHeadModel(config)


def t5(**changes):
    config = transformers.T5Config(
        vocab_size=V,
        d_model=12,
        d_kv=4,
        d_ff=10,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=3,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=5,
        decoder_start_token_id=0,
        **changes,
    )
    return transformers.T5ForConditionalGeneration(config)


def marian(**changes):
    config = transformers.MarianConfig(
        vocab_size=V,
        d_model=12,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=10,
        decoder_ffn_dim=10,
        max_position_embeddings=12,
        pad_token_id=0,
        eos_token_id=2,
        forced_eos_token_id=None,
        decoder_start_token_id=0,
        **{"activation_function": "swish", "scale_embedding": True} | changes,
    )
    return transformers.MarianMTModel(config)


CASES = {
    "gpt2": (gpt2, {}),
    "gpt2, exact gelu": (gpt2, {"activation_function": "gelu"}),
    "t5": (t5, {}),
    "t5, gated gelu": (t5, {"feed_forward_proj": "gated-gelu"}),
    "t5, gated silu": (t5, {"feed_forward_proj": "gated-silu"}),
    "marian": (marian, {}),
    "marian, relu": (marian, {"activation_function": "relu", "scale_embedding": False}),
}
every = pytest.mark.parametrize("case", CASES)


def norm_in_float64(self, x):
    """T5's norm, which otherwise takes its variance in float32 whatever the input is."""
    return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)


@pytest.fixture
def theirs(case, monkeypatch):
    monkeypatch.setattr(transformers.models.t5.modeling_t5.T5LayerNorm, "forward", norm_in_float64)
    make, changes = CASES[case]
    torch.manual_seed(0)
    model = make(**changes).double().eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "embed_positions" not in name:  # Marian's are computed
                p += 0.3 * torch.randn_like(p)
        if "final_logits_bias" in dict(model.named_buffers()):
            model.final_logits_bias += torch.randn_like(model.final_logits_bias)
    return model


def batch():
    rng = np.random.default_rng(1)
    source, target = rng.integers(3, V, (4, S)), rng.integers(3, V, (4, T))
    keep = np.arange(S) < np.array([3, 7, 1, 5])[:, None]
    return source, keep, target


def our_logits(model):
    source, keep, target = batch()
    if isinstance(model, CausalLM):
        return model.forward(source, keep)[0].logits[keep]
    return model.forward(source, target, keep)[0].logits


def their_logits(model):
    source, keep, target = map(torch.tensor, batch())
    with torch.no_grad():
        if model.config.model_type == "gpt2":
            return model(source, attention_mask=keep.long()).logits.numpy()[keep.numpy()]
        return model(source, attention_mask=keep.long(), decoder_input_ids=target).logits.numpy()


def tolerance(model):
    # Marian's table of sinusoids is float32.
    return 1e-6 if getattr(model.config, "model_type", "") == "marian" else 1e-9


@every
def test_what_transformers_writes_is_read(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path, dtype=np.float64)
    assert isinstance(ours, CausalLM if theirs.config.model_type == "gpt2" else Seq2Seq)
    np.testing.assert_allclose(
        our_logits(ours), their_logits(theirs), rtol=0, atol=tolerance(theirs)
    )


@every
def test_what_is_written_transformers_reads(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs", dtype=np.float64)
    save_pretrained(ours, tmp_path / "ours")
    again, report = type(theirs).from_pretrained(
        tmp_path / "ours", output_loading_info=True, dtype=torch.float64
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    np.testing.assert_allclose(
        our_logits(ours), their_logits(again.eval()), rtol=0, atol=tolerance(theirs)
    )
    same = from_pretrained(tmp_path / "ours", type(ours), dtype=np.float64)
    assert same.config == ours.config
    for name, p in ours.params.items():
        np.testing.assert_array_equal(same.params[name], p, err_msg=name)


@every
@pytest.mark.parametrize("num_beams", [1, 3])
def test_generation_gives_the_tokens_of_transformers(theirs, num_beams, tmp_path):
    theirs.save_pretrained(tmp_path)
    ours = from_pretrained(tmp_path, dtype=np.float64)
    source, keep, _ = batch()
    tokens = {"max_new": 5, "end": 2}
    options = {"max_new_tokens": 5, "do_sample": False, "num_beams": num_beams, "eos_token_id": 2}
    lengths = keep.sum(axis=1)
    if isinstance(ours, CausalLM):  # transformers wants the padding of a prompt at its start
        source = np.stack([np.roll(row, S - n) for row, n in zip(source, lengths, strict=True)])
        keep = keep[:, ::-1].copy()
    else:
        tokens["start"] = 0
        # transformers 5.24 sizes T5's cache by the encoder's layers.
        options["use_cache"] = theirs.config.model_type != "t5"
    if num_beams > 1:
        # transformers stops early by default, which finds less.
        options |= {"early_stopping": "never", "length_penalty": 1.0}
        found = beam_search(ours, source, keep, num_beams=num_beams, **tokens)
        found = [hypotheses[0].ids for hypotheses in found]
    else:
        found = greedy_search(ours, source, keep, **tokens)
    with torch.no_grad():
        expected = theirs.generate(
            torch.tensor(source),
            attention_mask=torch.tensor(keep).long(),
            pad_token_id=0,
            **options,
        ).numpy()
    begin = S if isinstance(ours, CausalLM) else 1
    for ids, row in zip(found, expected[:, begin:].tolist(), strict=True):
        assert list(ids) == row[: len(ids)]
        assert {*row[len(ids) :]} <= {0, 2}


@pytest.mark.parametrize(
    ("case", "field", "value", "message"),
    [
        ("gpt2", "scale_attn_by_inverse_layer_idx", True, "expected False"),
        ("gpt2", "embd_pdrop", 0.2, "embd_pdrop: got 0.2, expected resid_pdrop = 0.1"),
        ("gpt2", "activation_function", "mish", "activation_function: got 'mish'"),
        ("gpt2", "n_layer", "two", "n_layer: got 'two', expected int"),
        ("gpt2", "n_future", 1, "n_future: got 1, expected no such field"),
        ("t5", "d_kv", 5, "d_kv: got 5, expected 4, because the heads"),
        ("t5", "tie_word_embeddings", False, "tie_word_embeddings: got False, expected True"),
        ("t5", "scale_decoder_outputs", 1, "scale_decoder_outputs: got 1, expected bool"),
        ("marian", "decoder_ffn_dim", 11, "decoder_ffn_dim: got 11, expected encoder_ffn_dim = 10"),
        ("marian", "normalize_before", True, "normalize_before: got True, expected False"),
        ("marian", "d_model", 15, "model.shared.weight (23, 12) instead of (23, 15)"),
        ("marian", "vocab_size", 10**9, "decoder_vocab_size: got 23, expected vocab_size"),
    ],
)
def test_refused_fields(theirs, field, value, message, tmp_path):
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(InputError) as caught:
        from_pretrained(tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("case", ["gpt2", "t5", "marian"])
def test_refused_arrays(theirs, case, tmp_path):
    theirs.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    arrays = load_file(path)
    first, last = sorted(arrays)[0], sorted(arrays)[-1]
    for change, message in (
        ({first: None}, f"missing {first}"),
        ({"h.0.extra": np.zeros(2)}, "unexpected h.0.extra"),
        ({last: np.zeros((2, 3))}, f"mis-shaped {last} (2, 3) instead of"),
        ({first: np.full_like(arrays[first], np.nan)}, f"got NaN in {first}"),
    ):
        save_file({n: a for n, a in (arrays | change).items() if a is not None}, path)
        with pytest.raises(InputError) as caught:
            from_pretrained(tmp_path)
        assert message in str(caught.value)


@pytest.mark.parametrize("case", ["gpt2"])
def test_refused_kinds(theirs, tmp_path):
    theirs.save_pretrained(tmp_path)
    for head in (Seq2Seq, Encoder):
        with pytest.raises(InputError, match=f"got 'gpt2', expected an? {head.__name__}"):
            from_pretrained(tmp_path, head)
    ours = from_pretrained(tmp_path, CausalLM)
    save_pretrained(ours, tmp_path / "copy")
    rotary = CausalLM.init(
        type(ours.config)(**ours.config.to_dict() | {"relative": "rotary"}),
        np.random.default_rng(0),
    )
    with pytest.raises(InputError, match="relative: got 'rotary', expected 'none', because"):
        save_pretrained(rotary, tmp_path / "rotary")
    assert not (tmp_path / "rotary").exists()
