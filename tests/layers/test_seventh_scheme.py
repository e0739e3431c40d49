"""A scheme of positions from outside: one class and one line, and every model knows it."""

import re
from pathlib import Path

import numpy as np
import pytest
from models import small_causal_lm, small_seq2seq

import npformer
from npformer.checks import InputError
from npformer.gradcheck import check_model
from npformer.layers import SCHEMES, Axis, Scheme
from npformer.models import (
    ClassifierConfig,
    EncoderConfig,
    SequenceClassifier,
    greedy_search,
    save_pretrained,
)

NAME = "log_distance"


class LogDistance(Scheme):
    """Each head adds a learned number times log(1 + distance)."""

    @classmethod
    def layer_shapes(cls, config):
        return {"slope": (Axis("H", config.num_heads),)}

    def bias_forward(self, q, k, shared, offset):
        distance = np.abs(np.arange(offset, offset + q.shape[2])[:, None] - np.arange(k.shape[2]))
        log = np.log1p(distance).astype(q.dtype)  # (T, S)
        return self.params["slope"][None, :, None, None] * log, log  # (1, H, T, S)

    def bias_backward(self, dbias, cache):
        return None, None, None, {"slope": (dbias * cache).sum(axis=(0, 2, 3))}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(SCHEMES, NAME, LogDistance)


def rng():
    return np.random.default_rng(3)


EVERYTHING = {"output_scores": True, "output_values": True}
DROPOUT = {"dropout": 0.2, "attention_dropout": 0.1}
IDS = np.random.default_rng(1).integers(0, 19, (2, 6))
KEEP = np.array([[0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]], bool)


def encoder(positions="none"):
    config = ClassifierConfig(
        vocab_size=23, max_len=9, d_model=12, num_heads=3, d_ff=10, num_layers=2, num_classes=4,
        positions=positions, relative=NAME, **DROPOUT,
    )  # fmt: skip
    return SequenceClassifier.init(config, np.random.default_rng(0), np.float64)


@pytest.mark.parametrize("options", [EVERYTHING, {**EVERYTHING, "recompute": True}])
def test_its_gradients_are_right_in_every_model(options):
    causal = small_causal_lm.make(relative=NAME, positions="none", **DROPOUT)
    both = small_seq2seq.make(relative=NAME, positions="none", activation="gelu", **DROPOUT)
    source = np.random.default_rng(2).integers(0, 23, (2, 7))
    source_keep = np.arange(7) < np.array([5, 7])[:, None]
    for model, inputs in (
        (encoder(), (IDS, KEEP)),
        (causal, (IDS, KEEP)),
        (both, (source, IDS, source_keep, KEEP)),
    ):
        report = check_model(model, inputs, options, make_rng=rng)
        slopes = [name for name in report.errors if name.endswith("attention.slope")]
        assert slopes
        assert all(name.startswith(("encoder", "decoder", "layers")) for name in slopes)
        assert not any("cross" in name for name in slopes)


def test_its_kv_cache_gives_what_forward_gives():
    causal = small_causal_lm.make(relative=NAME, positions="none", num_kv_heads=1)
    both = small_seq2seq.make(relative=NAME, positions="none")
    ids = np.random.default_rng(4).integers(0, 19, (3, 8))
    source, keep = small_seq2seq.batch().source[:3], small_seq2seq.batch().source_keep[:3]
    for model, whole, state in (
        (causal, causal.forward(ids)[0].logits, causal.start(ids)),
        (both, both.forward(source, ids, keep)[0].logits, both.start(source, keep)),
    ):
        for first, end in ((0, 3), (3, 4), (4, 8)):  # several tokens at once, and one
            logits, state = model.step(ids[:, first:end], state)
            np.testing.assert_allclose(logits, whole[:, end - 1], rtol=0, atol=1e-12)
    assert len(greedy_search(causal, ids[:, :3], max_new=4)) == 3


def test_it_is_more_than_decoration():
    model = small_causal_lm.make(relative=NAME, positions="none")
    before = model.forward(IDS)[0].logits
    model.params["layers.0.attention.slope"][:] += 1
    assert np.abs(model.forward(IDS)[0].logits - before).max() > 1e-3


def test_the_options_of_other_schemes_and_a_shared_array_are_refused():
    with pytest.raises(InputError, match="relative_clip: got 4, expected 16 without"):
        small_causal_lm.make(relative=NAME, relative_clip=4)
    with pytest.raises(InputError, match=r"relative: got 'xl', .* deberta, log_distance"):
        small_causal_lm.make(relative="xl")


def test_a_folder_has_no_word_for_it(tmp_path):
    with pytest.raises(InputError, match="relative: got 'log_distance', expected") as error:
        save_pretrained(encoder("learned"), tmp_path / "m")
    assert len(str(error.value)) <= 300
    assert not (tmp_path / "m").exists()


# The rooms


def test_no_name_of_a_scheme_stands_outside_its_file_and_the_registry():
    layers = Path(npformer.__file__).parent / "layers"
    for path in layers.rglob("*.py"):
        found = re.findall(r'"(?:rotary|alibi|shaw|t5|deberta)"', path.read_text("utf-8"))
        assert not found or path.parent.name == "relative", path
    schemes = {name for name in SCHEMES if name not in ("none", NAME)}
    assert {path.stem for path in (layers / "relative").glob("[!_]*.py")} == {*schemes, "scheme"}


def test_an_encoder_config_names_them_all():
    for name in SCHEMES:
        config = EncoderConfig(
            vocab_size=5, max_len=4, d_model=12, num_heads=3, d_ff=8, num_layers=1, relative=name
        )
        assert config.relative == name
