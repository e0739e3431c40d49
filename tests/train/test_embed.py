"""Sentence embeddings: the mean over kept tokens, of length one, in the order of the texts."""

import json

import numpy as np
import pytest
from models import small
from train.test_evaluate import encoded

from npformer.checks import InputError
from npformer.data.batches import Encoded
from npformer.data.sentence_folder import sentence_length
from npformer.train.embed import embed, mean_pool


def test_the_mean_over_kept_tokens():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 5, 3))
    keep = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 0, 1, 0, 1], [0] * 5], dtype=bool)
    y = mean_pool(x, keep)
    for b, rows in enumerate(([0, 1, 2, 3, 4], [0, 1], [2, 4])):
        mean = x[b, rows].mean(axis=0)
        np.testing.assert_allclose(y[b], mean / np.linalg.norm(mean), rtol=1e-14)
    np.testing.assert_array_equal(y[3], 0)
    np.testing.assert_array_equal(mean_pool(np.zeros((1, 2, 3)), np.ones((1, 2), bool)), 0)
    assert mean_pool(x.astype(np.float32), keep).dtype == np.float32


def test_each_as_alone_and_in_order():
    model, data = small.make("encoder"), encoded()
    rows = embed(model, data, 0, batch_size=3)
    assert rows.shape == (len(data), small.SIZES["d_model"])
    np.testing.assert_allclose((rows * rows).sum(axis=1), 1)
    for i, (ids, segments) in enumerate(zip(data.ids, data.segments, strict=True)):
        hidden = model.forward(ids[None], None, segments[None])[0].hidden[-1]
        mean = hidden[0].mean(axis=0)
        np.testing.assert_allclose(rows[i], mean / np.linalg.norm(mean), rtol=0, atol=1e-12)


def test_threads_and_broken_weights():
    model, data = small.make("encoder", dtype=np.float32), encoded()
    one, three = (embed(model, data, 0, batch_size=3, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one, three)
    assert one.dtype == np.float32
    model.params["embeddings.beta"][0] = np.nan
    with pytest.raises(InputError, match="embeddings: got NaN or infinity"):
        embed(model, data, 0)
    with pytest.raises(InputError, match="texts: got none"):
        embed(model, Encoded([], []), 0)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (None, None, 512),
        ("sentence_bert_config.json", {"max_seq_length": 256, "do_lower_case": False}, 256),
        ("sentence_bert_config.json", {"max_seq_length": 1024}, 512),
        ("sentence_bert_config.json", {"max_seq_length": None}, 512),
        ("sentence_bert_config.json", {"max_seq_length": "256"}, "max_seq_length: got '256'"),
        ("sentence_bert_config.json", {"max_seq_length": 0}, "max_seq_length: got 0"),
        ("sentence_bert_config.json", [], "got a JSON list, expected a dict"),
        ("modules.json", [{"type": "sentence_transformers.models.Pooling"}], 512),
        ("modules.json", [{"type": "sentence_transformers.models.Dense"}], "got 'Dense', expected"),
        (
            "1_Pooling/config.json",
            {"pooling_mode_x": [0] * 1000},
            r"got pooling_mode_x = \[0, 0, 0, 0, 0, 0, \.\.\.\], expected",
        ),
        ("modules.json", [3], "got '', expected one of Transformer"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True, "other": 3}, 512),
        (
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": False, "pooling_mode_cls_token": True},
            "got pooling_mode_mean_tokens = False, expected the mean",
        ),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "max_tokens = True, expected"),
    ],
)
def test_what_a_folder_asks_for(tmp_path, name, content, said):
    if name is not None:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content))
    if isinstance(said, int):
        assert sentence_length(tmp_path, 512) == said
    else:
        with pytest.raises(InputError, match=said):
            sentence_length(tmp_path, 512)


def test_a_broken_file(tmp_path):
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(InputError, match=r"modules\.json: got no JSON"):
        sentence_length(tmp_path, 512)
