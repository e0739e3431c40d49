"""One case or more for every pair of `npformer.ops`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from npformer import ops
from npformer.selfcheck.case import SIZES, PairCase
from npformer.types import BoolArray


def pair_cases() -> list[PairCase]:
    """Return at least one case for every pair in `npformer.ops`."""
    return [*_maps(), *_positions(), *_softmaxes(), *_attentions(), *_losses()]


def _maps() -> list[PairCase]:
    row = {"x": "BTD"}
    repeated = np.array([[3, 0, 3, 7], [0, 3, 9, 10]])
    return [
        _case("linear", {"x": "BTI", "w": "IO", "b": "O"}),
        _case("linear/no bias", {"x": "BTI", "w": "IO"}, b=None),
        _case("broadcast_add", {**row, "bias": "D"}),
        _case("broadcast_add/axes of length 1", {**row, "bias": "T1"}),
        _case("broadcast_add/same rank", {**row, "bias": "B1D"}),
        *(_case(name, row) for name in ("relu", "gelu", "gelu_tanh", "tanh", "sigmoid", "silu")),
        _case("layernorm", {**row, "gamma": "D", "beta": "D"}),
        _case("layernorm/eps", {**row, "gamma": "D", "beta": "D"}, eps=0.3),
        _case("rmsnorm", {**row, "gamma": "D"}),
        _case("rmsnorm/eps", {**row, "gamma": "D"}, eps=0.3),
        _case("gate", {"gate": "BTF", "x": "BTF"}),
        _case("dropout", row, p_drop=0.3, dropout=True),
        _case("dropout/off", row, p_drop=0.3, rng=None),
        _case("embedding", {"table": "VD"}, {"ids": (repeated, "BT")}),
    ]


def _positions() -> list[PairCase]:
    x, table = {"x": "BHTK"}, {"table": "RH"}
    scattered = np.array([[3, 0, 17, 5], [-2, 9, 1, 30]])
    lengths = {"query_len": SIZES["T"], "key_len": SIZES["S"]}
    few: dict[str, Any] = {"num_buckets": SIZES["R"], "max_distance": 6, **lengths}
    return [
        _case("sinusoidal", {"x": "BTD"}),
        _case("sinusoidal/half-split", {"x": "BTD"}, interleaved=False),
        _case("rotary", x),
        _case("rotary/interleaved", x, interleaved=True),
        _case("rotary/partial", x, {"positions": (scattered, "BT")}, base=100.0, rotary_dim=4),
        _case(
            "rotary/partial, interleaved",
            x,
            {"positions": (scattered[0], "T")},
            base=100.0,
            rotary_dim=4,
            interleaved=True,
        ),
        _case("t5_bias", table, **few),
        _case("t5_bias/causal", table, **few, offset=7, bidirectional=False),
        _case("shaw_key", {"q": "BHTK", "table": "IK"}, key_len=SIZES["S"]),
        _case(
            "shaw_key/offset",
            {"q": "BHTK", "table": "IK"},
            key_len=SIZES["S"],
            offset=3,
            scale=0.7,
        ),
        _case("shaw_value", {"probs": "BHTS", "table": "IK"}),
        _case("shaw_value/offset", {"probs": "BHTS", "table": "IK"}, offset=3),
        _case("disentangled_bias", {"q": "BHTK", "k": "BHSK", "q_r": "HRK", "k_r": "HRK"}),
        _case(
            "disentangled_bias/offset",
            {"q": "BHTK", "k": "BHSK", "q_r": "HOK", "k_r": "HOK"},
            offset=3,
            scale=0.7,
        ),
    ]


def _softmaxes() -> list[PairCase]:
    scores = {"scores": "BHTS"}
    return [
        _case("softmax", {"x": "BTC"}, reduced="C"),
        _case("softmax/first axis", {"x": "SDC"}, axis=0, reduced="S"),
        _case("log_softmax", {"x": "BTC"}, reduced="C"),
        _case("log_softmax/middle axis", {"x": "BTC"}, axis=1, reduced="T"),
        _case("masked_softmax", scores, reduced="S"),
        _case("masked_softmax/padding", scores, {"keep": (_padding(), "B11S")}, reduced="S"),
        _case("masked_softmax/empty row", scores, {"keep": (_ragged(), "B1TS")}, reduced="S"),
    ]


def _attentions() -> list[PairCase]:
    qkv = {"q": "BHTK", "k": "BHSK", "v": "BHSK"}
    relative = {**qkv, "rel_k": "IK", "rel_v": "IK"}
    return [
        _case("attention_scores", {"q": "BHTK", "k": "BHSK"}),
        _case("attention_scores/bias", {"q": "BHTK", "k": "BHSK", "bias": "1HTS"}, scale=0.7),
        _case("repeat_heads", {"x": "BHSK"}, num_heads=9),
        _case("attention_mix", {"probs": "BHTS", "v": "BHSK"}),
        _case("attention", qkv, reduced="S"),
        _case(
            "attention/mask and bias",
            {**qkv, "bias": "1HTS"},
            {"keep": (_ragged(), "B1TS")},
            scale=0.7,
            reduced="S",
        ),
        _case(
            "attention/padding and dropout",
            {**qkv, "bias": "B11S"},
            {"keep": (_padding(), "B11S")},
            p_drop=0.3,
            reduced="S",
            dropout=True,
        ),
        _case("attention/causal", qkv, {"keep": (_causal(), "11TS")}, reduced="S"),
        # Blocks of 3 divide neither T = 4 nor S = 5.
        _case("blockwise_attention", qkv, block=3, reduced="S"),
        _case(
            "blockwise_attention/mask and bias",
            {**qkv, "bias": "1HTS"},
            {"keep": (_ragged(), "B1TS")},
            scale=0.7,
            block=3,
            reduced="S",
        ),
        _case(
            "blockwise_attention/padding and dropout",
            {**qkv, "bias": "B11S"},
            {"keep": (_padding(), "B11S")},
            p_drop=0.3,
            block=3,
            reduced="S",
            dropout=True,
        ),
        _case(
            "blockwise_attention/causal",
            qkv,
            {"keep": (_causal(), "11TS")},
            block=1,
            reduced="S",
        ),
        _case("shaw_attention", relative, reduced="S"),
        _case(
            "shaw_attention/mask and dropout",
            relative,
            {"keep": (_ragged(), "B1TS")},
            offset=3,
            scale=0.7,
            p_drop=0.3,
            reduced="S",
            dropout=True,
        ),
    ]


def _losses() -> list[PairCase]:
    classes = (np.array([5, 0]), "B")
    tokens = (np.array([[8, -100, 2, 2], [0, 5, -100, 1]]), "BT")
    kept = (np.array([[True, True, False, True], [True, False, False, True]]), "BT")
    broadcast = (kept[0][..., None], "BT1")
    entries = {"x": "BTD", "target": "BTD"}
    soft = {"student_logits": "BTC", "teacher_logits": "BTC"}
    scores = {"student_scores": "BHTS", "teacher_scores": "BHTS"}
    values = {"student_v": "BHTK", "teacher_v": "BHTI"}
    scores_of_teacher: dict[str, Any] = {"constants": ("teacher_scores",), "reduced": "S"}
    values_of_teacher: dict[str, Any] = {"constants": ("teacher_v",), "reduced": "T"}
    target: dict[str, Any] = {"constants": ("target",)}
    teacher: dict[str, Any] = {"tau": 2.3, "constants": ("teacher_logits",), "reduced": "C"}
    return [
        _case("cross_entropy", {"logits": "BC"}, {"labels": classes}, reduced="C"),
        _case(
            "cross_entropy/tokens",
            {"logits": "BTC"},
            {"labels": tokens},
            label_smoothing=0.2,
            reduced="C",
        ),
        _case("cross_entropy/count", {"logits": "BTC"}, {"labels": tokens}, count=17, reduced="C"),
        _case("soft_cross_entropy", soft, **teacher),
        _case("soft_cross_entropy/kept", soft, {"keep": kept}, tau_squared=True, **teacher),
        _case("kl", soft, **teacher),
        _case("kl/kept", soft, {"keep": kept}, tau_squared=True, count=17, **teacher),
        _case("mse", entries, **target),
        _case("mse/kept", entries, {"keep": broadcast}, **target),
        _case("mse/count", entries, {"keep": broadcast}, count=17, **target),
        _case("cosine", entries, **target),
        _case("cosine/kept", entries, {"keep": kept}, count=17, **target),
        _case("patient", entries, **target),
        _case("patient/kept", entries, {"keep": kept}, count=17, **target),
        _case("attention_kl", scores, **scores_of_teacher),
        _case("attention_kl/kept", scores, {"keep": (_ragged(), "B1TS")}, **scores_of_teacher),
        _case("value_relation", values, **values_of_teacher),
        _case("value_relation/kept", values, {"keep": kept}, count=17, **values_of_teacher),
    ]


def _case(
    name: str,
    drawn: Mapping[str, str],
    given: Mapping[str, tuple[Any, str]] | None = None,
    *,
    constants: tuple[str, ...] = (),
    reduced: str = "",
    dropout: bool = False,
    **options: Any,
) -> PairCase:
    """Make a case: draw the floating arrays by their axes, take the others as given."""
    given = given or {}
    pair = name.split("/")[0]
    # Seeded by the name, so that adding a case changes no other.
    rng = np.random.default_rng(list(name.encode()))
    arrays = {key: rng.standard_normal([SIZES.get(a, 1) for a in drawn[key]]) for key in drawn}
    return PairCase(
        name=name,
        forward=getattr(ops, f"{pair}_forward"),
        backward=getattr(ops, f"{pair}_backward"),
        arguments={**arrays, **{key: array for key, (array, _) in given.items()}, **options},
        axes={**drawn, **{key: axes for key, (_, axes) in given.items()}},
        constants=constants,
        reduced=reduced,
        dropout=dropout,
    )


def _padding() -> BoolArray:
    """Mask (B, 1, 1, S): the first sequence has 3 tokens, the second all."""
    lengths = np.array([3, SIZES["S"]])
    return (np.arange(SIZES["S"]) < lengths[:, None])[:, None, None, :]


def _ragged() -> BoolArray:
    """Mask (B, 1, T, S) with a query that may attend to nothing, and one to one key alone."""
    rng = np.random.default_rng(5)
    keep: BoolArray = rng.random((SIZES["B"], 1, SIZES["T"], SIZES["S"])) < 0.7
    keep[0, 0, 1] = False
    keep[1, 0, 2] = np.arange(SIZES["S"]) == 3
    return keep


def _causal() -> BoolArray:
    """Mask (1, 1, T, S): each query sees the keys up to its own position and one more."""
    return np.tri(SIZES["T"], SIZES["S"], 1, dtype=bool)[None, None]
