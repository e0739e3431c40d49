"""A RoBERTa folder as transformers writes it, in the commands that read text."""

import json

import numpy as np
import pytest
import tiny_task
from tiny_byte_level import byte_level

from npformer.cli import main
from npformer.data.glue import load_folder
from npformer.data.tokenizer import encode_examples, load_tokenizer
from npformer.models import from_pretrained

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
transformers.utils.logging.disable_progress_bar()

TEXTS = ["the film was fine,  and warm", "", "naïve 🙂 我喜歡 <mask> plot"]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "space"])
def folders(request, tmp_path_factory):
    """Write a RoBERTa and a classifier of it, each with its tokenizer.

    A tokenizer may put a space before the first word of a text.
    """
    top = tmp_path_factory.mktemp("roberta")
    byte_level(500).save(str(top / "tokenizer.json"))
    tokenizer = transformers.RobertaTokenizerFast(
        tokenizer_file=str(top / "tokenizer.json"), add_prefix_space=request.param
    )
    config = transformers.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=12,
        num_attention_heads=3,
        num_hidden_layers=2,
        intermediate_size=10,
        max_position_embeddings=34,
        type_vocab_size=1,
    )
    torch.manual_seed(3)
    for name, kind in (
        ("encoder", transformers.RobertaModel),
        ("classifier", transformers.RobertaForSequenceClassification),
    ):
        model = kind(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        model.save_pretrained(top / name)
        tokenizer.save_pretrained(top / name)
    return top


def load(folder):
    kind = transformers.AutoModelForSequenceClassification
    theirs, info = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return theirs.eval(), transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def answers(folder, *texts):
    theirs, tokenizer = load(folder)
    encoded = tokenizer(*texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return theirs(**encoded).logits.softmax(dim=1).numpy()


@pytest.mark.parametrize("second", [None, TEXTS[::-1]], ids=["texts", "pairs"])
def test_the_ids_are_theirs(folders, second):
    folder = folders / "encoder"
    theirs = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert type(theirs).__name__.startswith("Roberta")
    ours, _ = encode_examples(load_tokenizer(folder), TEXTS, second, max_len=32)
    expected = theirs(TEXTS, second)["input_ids"]
    assert [row.tolist() for row in ours.ids] == expected
    assert any(len(row) > 8 for row in expected)


@pytest.mark.parametrize("kind", ["texts", "pairs"])
def test_predict_says_what_they_say(kind, folders, capsys):
    columns = (TEXTS,) if kind == "texts" else (TEXTS, TEXTS[1:] + TEXTS[:1])
    texts = ["\t".join(row) for row in zip(*columns, strict=True)]
    assert main(["predict", str(folders / "classifier"), *texts, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    expected = answers(folders / "classifier", *columns)
    np.testing.assert_allclose(
        [row["probability"] for row in said], expected.max(axis=1), rtol=0, atol=1e-6
    )
    assert [row["label"] for row in said] == [f"LABEL_{c}" for c in expected.argmax(axis=1)]


def test_embed_means_over_their_states(folders, capsys):
    folder = folders / "encoder"
    texts = [TEXTS[0], "a", TEXTS[2]]
    assert main(["embed", "--model", str(folder), *texts, "--json"]) == 0
    found = np.array([row["embedding"] for row in json.loads(capsys.readouterr().out)])
    theirs = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoded = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = theirs(**encoded).last_hidden_state.numpy()
    keep = encoded["attention_mask"].numpy()[:, :, None]
    mean = (states * keep).sum(axis=1) / keep.sum(axis=1)
    expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_fine_tuned_and_distilled(kind, folders, tmp_path, capsys):
    """Both come out with the tokenizer as it was, and transformers gives the same answers."""
    data = tiny_task.write_task(tmp_path / "task", kind)
    argv = ["--data", data, "--max-len", 24]
    tuned = tmp_path / "tuned"
    line = ["finetune", "--model", folders / "encoder", "--epochs", 150, "--rate", 1e-2]
    assert main([str(a) for a in [*line, *argv, "--out", tuned]]) == 0
    line = ["distill", "--teacher", tuned / "model", "--general-teacher", folders / "encoder"]
    line += ["--student", "1x9x3", "--baselines", "none", "--long-copies", 0]
    for phase in ("general", "intermediate", "prediction"):
        line += ["--steps", f"{phase}=60", "--rate", f"{phase}=1e-2"]
    refused = [*line, *argv, "--augmenter", "teacher", "--out", tmp_path / "refused"]
    assert main([str(a) for a in refused]) == 2
    assert "neighbours or none beside a teacher of byte-level BPE" in capsys.readouterr().err
    assert main([str(a) for a in [*line, *argv, "--out", tmp_path / "run"]]) == 0
    assert main(["eval", str(tuned / "model"), "--data", str(data), "--json"]) == 0
    dev = load_folder(data).dev
    texts = (dev.first,) if kind == "single" else (dev.first, dev.second)
    for folder in (tuned / "model", tmp_path / "run" / "student"):
        _, tokenizer = load(folder)
        ours, _ = encode_examples(load_tokenizer(folder), *texts, max_len=24)
        assert [row.tolist() for row in ours.ids] == tokenizer(*texts)["input_ids"]
        model = from_pretrained(folder)
        logits = [model.forward(ids[None], np.ones((1, len(ids)), bool))[0] for ids in ours.ids]
        logits = np.concatenate([out.logits for out in logits])
        probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.ptp(probs[:, 0]) > 0.01
        np.testing.assert_allclose(probs, answers(folder, *texts), rtol=0, atol=1e-5)


def test_a_masked_lm_head(folders, tmp_path):
    """A BERT's with this tokenizer; the mask is RoBERTa's."""
    (tmp_path / "some.txt").write_text(
        "\n".join(text for text, _ in tiny_task.texts(40, 100)), "utf-8"
    )
    argv = ["--model", folders / "encoder", "--unlabelled", tmp_path / "some.txt", "--epochs", 3]
    argv += ["--max-len", 20, "--rate", 1e-2, "--out", tmp_path / "run"]
    assert main(["mlm-head", *(str(a) for a in argv)]) == 0
    folder = tmp_path / "run" / "model"
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoded = tokenizer("the <mask> was fine", return_tensors="pt")
    assert (encoded["input_ids"] == tokenizer.mask_token_id).sum() == 1
    with torch.inference_mode():
        expected = theirs(**encoded).logits.numpy()
    ids = encoded["input_ids"].numpy()
    output, _ = from_pretrained(folder).forward(ids, np.ones(ids.shape, bool))
    np.testing.assert_allclose(output.logits.reshape(expected.shape), expected, rtol=0, atol=1e-5)
