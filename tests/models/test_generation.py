"""Generation: the KV cache against recomputation, beam search against every target there is."""

import itertools

import numpy as np
import pytest
from models import small_causal_lm
from models.small_seq2seq import batch, make

from npformer.checks import InputError
from npformer.models import (
    beam_search,
    filtered_probs,
    greedy_search,
    sample,
)
from npformer.ops import log_softmax_forward

TOKENS = {"start": 1, "end": 2, "max_new": 8}
SOURCE, _, KEEP, _, _ = batch()
every_model = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_first": True},
        {"positions": "learned"},
        {"positions": "none", "relative": "rotary"},
        {"positions": "none", "relative": "alibi"},
        {"positions": "none", "relative": "rotary", "rotary_layout": "interleaved"},
        {"positions": "none", "relative": "rotary", "rotary_size": 2},
        {"positions": "none", "relative": "shaw", "relative_clip": 2},
        {"positions": "none", "relative": "t5", "num_buckets": 6, "max_distance": 5},
        {"positions": "none", "relative": "deberta", "relative_clip": 2},
        {"sinusoidal_layout": "half-split", "gated": True, "norm": "rms"},
        {"num_kv_heads": 1, "positions": "none", "relative": "rotary"},
        {"attention_scale": 1.0},
        {"attention": "average"},
        {"shared_embeddings": True, "target_vocab_size": 23},
    ],
    ids=(
        "post pre learned rotary alibi interleaved partial shaw t5 deberta halves grouped scale "
        "average shared"
    ).split(),
)


def recomputed(model, choose):
    """Generate without a cache: the whole target again for each token."""
    memory = model.encode(SOURCE, KEEP)[0].hidden[-1]
    given = np.full((len(SOURCE), 1), TOKENS["start"])
    for _ in range(TOKENS["max_new"]):
        output, _ = model.decode(given, memory, None, KEEP)
        given = np.concatenate((given, choose(output.logits[:, -1])[:, None]), axis=1)
    targets = []
    for row in given[:, 1:].tolist():
        stop = row.index(TOKENS["end"]) + 1 if TOKENS["end"] in row else len(row)
        targets.append(tuple(row[:stop]))
    return targets


@every_model
def test_a_step_gives_what_decoding_the_whole_target_gives(changes):
    model = make(**changes)
    target = np.random.default_rng(3).integers(0, 19, (4, 8))
    memory = model.encode(SOURCE, KEEP)[0].hidden[-1]
    expected = model.decode(target, memory, None, KEEP)[0].logits
    state = model.start(SOURCE, KEEP)
    for t in range(8):
        before = state
        logits, state = model.step(target[:, t : t + 1], state)
        np.testing.assert_allclose(logits, expected[:, t], rtol=0, atol=1e-12)
        assert before.length == t
        again, _ = model.step(target[:, t : t + 1], before)  # the state given is left alone
        np.testing.assert_array_equal(again, logits)


@every_model
def test_greedy_search_gives_the_tokens_of_recomputation(changes):
    lengths = set()
    for seed in range(5):
        model = make(seed=seed, **changes)
        model.params["output.b"][TOKENS["end"]] += seed  # some end soon, some never
        found = greedy_search(model, SOURCE, KEEP, **TOKENS)
        assert found == recomputed(model, lambda logits: logits.argmax(axis=-1))
        lengths |= {len(ids) for ids in found}
    assert len(lengths) > 1


def test_sampling_gives_the_tokens_of_recomputation():
    model = make()
    options = {"temperature": 1.3, "top_k": 9, "top_p": 0.9}
    rng = np.random.default_rng(5)

    def choose(logits):
        edges = filtered_probs(logits, **options).cumsum(axis=-1)
        return (edges <= rng.random((4, 1)) * edges[:, -1:]).sum(axis=-1)

    found = sample(model, SOURCE, KEEP, rng=np.random.default_rng(5), **options, **TOKENS)
    assert found == recomputed(model, choose)
    other = sample(model, SOURCE, KEEP, rng=np.random.default_rng(6), **options, **TOKENS)
    assert other != found


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_source_in_a_batch_gives_what_it_gives_alone(num_beams):
    model = make(positions="none")
    found = beam_search(model, SOURCE, KEEP, num_beams=num_beams, **TOKENS)
    for b, ids in enumerate(SOURCE):
        alone = beam_search(model, ids[KEEP[b]][None], num_beams=num_beams, **TOKENS)[0]
        assert [h.ids for h in alone] == [h.ids for h in found[b]]


@pytest.mark.parametrize("length_penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("num_beams", [125, 200])
def test_with_all_beams_it_is_exhaustive_search(length_penalty, num_beams):
    model = make(target_vocab_size=4, seed=2)
    tokens = {"start": 1, "end": 2, "max_new": 4}
    memory = model.encode(SOURCE, KEEP)[0].hidden[-1]
    found = beam_search(
        model, SOURCE, KEEP, num_beams=num_beams, length_penalty=length_penalty, **tokens
    )
    scores: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in SOURCE]
    for length in range(1, 5):
        for ids in itertools.product(range(4), repeat=length):
            if 2 in ids[:-1] or (ids[-1] != 2 and length < 4):
                continue
            given = np.tile([1, *ids[:-1]], (4, 1))
            logits = model.decode(given, memory, None, KEEP)[0].logits
            log_probs, _ = log_softmax_forward(logits)
            total = log_probs[:, np.arange(length), ids].sum(axis=1)
            for b in range(4):
                scores[b].append((total[b] / length**length_penalty, ids))
    for hypotheses, every in zip(found, scores, strict=True):
        assert len(every) == 121  # 3^0 + 3^1 + 3^2 that end, 3^3 times 4 of full length
        expected = sorted(every, reverse=True)
        assert [h.ids for h in hypotheses] == [ids for _, ids in expected]
        np.testing.assert_allclose(
            [h.score for h in hypotheses], [s for s, _ in expected], rtol=0, atol=1e-12
        )


def test_more_beams_find_no_less():
    total = {
        n: sum(h[0].log_prob for h in beam_search(
            make(seed=4), SOURCE, KEEP, num_beams=n, length_penalty=0.0, **TOKENS
        ))
        for n in (1, 4, 30)
    }  # fmt: skip
    assert total[30] >= total[4] >= total[1]


def test_filtered_probs():
    logits = np.log([[0.1, 0.4, 0.3, 0.2], [0.7, 0.1, 0.1, 0.1]])
    for options, expected in (
        ({}, np.exp(logits)),
        ({"top_k": 2}, [[0, 4 / 7, 3 / 7, 0], [7 / 8, 1 / 8, 0, 0]]),
        ({"top_p": 0.6}, [[0, 4 / 7, 3 / 7, 0], [1, 0, 0, 0]]),
        ({"top_k": 3, "top_p": 0.5}, [[0, 4 / 7, 3 / 7, 0], [1, 0, 0, 0]]),
        ({"top_k": 9, "top_p": 1.0}, np.exp(logits)),
        ({"temperature": 0.5}, np.exp(2 * logits) / np.exp(2 * logits).sum(1, keepdims=True)),
    ):
        np.testing.assert_allclose(
            filtered_probs(logits, **options), expected, rtol=0, atol=1e-12, err_msg=str(options)
        )


def test_samples_come_as_often_as_their_probability():
    model = make(target_vocab_size=5)
    sources = np.tile(SOURCE[1], (4000, 1))
    drawn = sample(
        model, sources, start=1, end=2, max_new=1, rng=np.random.default_rng(0), temperature=2.0
    )
    logits, _ = model.step(np.array([[1]]), model.start(SOURCE[1:2]))
    probs = filtered_probs(logits, temperature=2.0)[0]
    share = np.bincount([ids[0] for ids in drawn], minlength=5) / 4000
    np.testing.assert_allclose(share, probs, rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new": 10}, "max_new: got 10, expected at most max_len = 9"),
        ({"end": 19}, "end: got 19, expected 0 to 18"),
        ({"num_beams": 0}, "num_beams: got 0"),
        ({"length_penalty": -1.0}, "length_penalty: got -1.0"),
        ({"source_keep": np.zeros((4, 7), bool)}, "source: got no token in sequence 0"),
    ],
)
def test_bad_input(changes, message):
    with pytest.raises(InputError, match=message):
        beam_search(make(), **({"source": SOURCE, "source_keep": KEEP, **TOKENS} | changes))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature: got 0.0"),
        ({"top_k": 0}, "top_k: got 0"),
        ({"top_p": 0.0}, "top_p: got 0.0"),
        ({"top_p": 1.5}, "top_p: got 1.5"),
    ],
)
def test_bad_filters(options, message):
    with pytest.raises(InputError, match=message):
        filtered_probs(np.zeros((2, 3)), **options)


def test_a_position_beyond_max_len():
    model = make()
    _, state = model.step(np.zeros((4, 9), int), model.start(SOURCE, KEEP))
    with pytest.raises(InputError, match="ids: got 1 after 9 tokens, expected at most max_len = 9"):
        model.step(np.zeros((4, 1), int), state)


# The decoder-only model: prompts of different lengths, padded at either end.

PROMPTS = np.random.default_rng(8).integers(0, 23, (4, 5))
PROMPT_KEEP = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [1, 0, 0, 0, 0]], bool)
SEED = 1  # of models whose greedy continuations are not all the same
every_language_model = pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm_first": False, "positions": "sinusoidal"},
        {"positions": "none", "relative": "rotary", "num_heads": 6, "num_kv_heads": 2},
        {"positions": "none", "relative": "alibi"},
        {"positions": "none", "relative": "shaw", "relative_clip": 2},
        {"positions": "none", "relative": "t5", "num_buckets": 6, "max_distance": 5},
        {"positions": "none", "relative": "deberta", "relative_clip": 2},
        {"attention": "average", "use_bias": False, "norm": "rms", "gated": True},
    ],
    ids="learned post grouped alibi shaw t5 deberta average".split(),
)


def continued(model, prompt, choose, max_new, end=None):
    """Continue one prompt without a cache and without padding."""
    ids = prompt.tolist()
    while len(ids) < len(prompt) + max_new:
        logits = model.forward(np.array([ids]))[0].logits
        ids.append(int(choose(logits[:, -1])[0]))
        if ids[-1] == end:
            break
    return tuple(ids[len(prompt) :])


@every_language_model
def test_prompts_of_different_lengths_give_the_tokens_of_recomputation(changes):
    model = small_causal_lm.make(seed=SEED, **changes)

    def greedy(logits):
        return logits.argmax(axis=-1)

    expected = [
        continued(model, row[keep], greedy, 4)
        for row, keep in zip(PROMPTS, PROMPT_KEEP, strict=True)
    ]
    assert len(set(expected)) > 1
    assert greedy_search(model, PROMPTS, PROMPT_KEEP, max_new=4) == expected
    end = expected[1][1]
    found = greedy_search(model, PROMPTS, PROMPT_KEEP, max_new=4, end=end)
    assert found == [
        continued(model, row[keep], greedy, 4, end)
        for row, keep in zip(PROMPTS, PROMPT_KEEP, strict=True)
    ]
    beams = beam_search(model, PROMPTS, PROMPT_KEEP, max_new=4, num_beams=1)
    assert [hypotheses[0].ids for hypotheses in beams] == expected


@every_language_model
def test_a_prompt_at_once_gives_what_its_tokens_give_one_by_one(changes):
    model = small_causal_lm.make(**changes)
    at_once, _ = model.step(PROMPTS, model.start(PROMPTS))
    state = model.start(PROMPTS)
    for t in range(PROMPTS.shape[1]):
        one_by_one, state = model.step(PROMPTS[:, t : t + 1], state)
    np.testing.assert_allclose(at_once, one_by_one, rtol=0, atol=1e-12)
    np.testing.assert_allclose(at_once, model.forward(PROMPTS)[0].logits[:, -1], rtol=0, atol=1e-12)


def test_a_samples_draws_are_its_own():
    model = small_causal_lm.make()
    found = sample(model, PROMPTS, PROMPT_KEEP, max_new=4, rng=np.random.default_rng(1))
    numbers = np.random.default_rng(1).random((4, 4))
    for b, (row, keep) in enumerate(zip(PROMPTS, PROMPT_KEEP, strict=True)):
        draws = iter(numbers[:, b])

        def choose(logits, draws=draws):
            edges = filtered_probs(logits).cumsum(axis=-1)
            return (edges <= next(draws) * edges[:, -1:]).sum(axis=-1)

        assert found[b] == continued(model, row[keep], choose, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": 1}, "start: got 1, expected None: a prompt starts itself"),
        ({"end": 23}, "end: got 23, expected 0 to 22"),
        ({"max_new": 5}, "max_new: got 5, expected at most max_len = 9 less the 5 tokens"),
        ({"source_keep": PROMPT_KEEP & [False]}, "source: got no token in prompt 0"),
        ({"source_keep": PROMPT_KEEP[:, :4]}, "source_keep: got shape"),
        ({"source": PROMPTS[0]}, "source: got shape"),
    ],
)
def test_bad_prompts(changes, message):
    options = {"source": PROMPTS, "source_keep": PROMPT_KEEP, "max_new": 4} | changes
    with pytest.raises(InputError, match=message):
        greedy_search(small_causal_lm.make(), **options)


def test_an_encoder_decoder_needs_a_start():
    with pytest.raises(InputError, match="start: got None, expected the token before the first"):
        greedy_search(make(), SOURCE, KEEP, max_new=3)


def test_grouped_queries_keep_fewer_keys():
    model = small_causal_lm.make(num_heads=6, num_kv_heads=2)
    _, state = model.step(PROMPTS, model.start(PROMPTS))
    assert {layer.k.shape for layer in state.layers} == {(4, 2, 5, 2)}
