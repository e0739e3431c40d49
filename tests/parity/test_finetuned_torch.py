"""What ``finetune`` and ``mlm-head`` write, read by transformers: nothing missing, same answers."""

import numpy as np
import pytest
import tiny_task
from safetensors.numpy import load_file, save_file
from tiny_checkpoint import TEXTS, write_checkpoint

from benchmarks import against_transformers
from npformer.cli import main
from npformer.data.glue import load_folder
from npformer.data.tokenizer import encode_examples, load_tokenizer, save_tokenizer
from npformer.jobs.finetune.start import start_classifier
from npformer.models import from_pretrained, save_pretrained
from npformer.train.evaluate import predict_logits

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "model")


def load(kind, folder):
    theirs, info = kind.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return theirs.eval()


def call(theirs, folder, *texts):
    """Tokenize and run as their users do."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    encoded = tokenizer(*texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        return theirs(**encoded).logits.numpy(), encoded


@pytest.mark.parametrize("kind", ["strings", "pair", "regression"])
def test_a_fine_tuned_model(kind, checkpoint, tmp_path):
    data, out = tiny_task.write_task(tmp_path / "task", kind), tmp_path / "run"
    argv = ["--model", checkpoint, "--data", data, "--epochs", 150, "--max-len", 24, "--out", out]
    assert main(["finetune", *(str(a) for a in [*argv, "--rate", 1e-2])]) == 0
    theirs = load(transformers.AutoModelForSequenceClassification, out / "model")
    assert type(theirs).__name__ == "BertForSequenceClassification"
    task = load_folder(data)
    texts = [task.dev.first] if task.dev.second is None else [task.dev.first, task.dev.second]
    expected, _ = call(theirs, out / "model", *texts)
    tokenizer = load_tokenizer(out / "model")
    encoded, _ = encode_examples(tokenizer, *texts, max_len=24)
    logits = predict_logits(from_pretrained(out / "model"), encoded, 0)
    assert np.ptp(logits) > 0.1
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    if kind == "regression":
        assert theirs.config.problem_type == "regression"
    else:
        assert tuple(theirs.config.id2label[c] for c in range(2)) == task.label_names
        np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("size", [[], ["--embedding-size", "4"]], ids=["bert", "albert"])
@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_a_distilled_student(size, activation, checkpoint, tmp_path):
    """With a factorised table it is an ALBERT, which keeps BERT's tokenizer."""
    data, out = tiny_task.write_task(tmp_path / "task"), tmp_path / "run"
    argv = ["--data", data, "--teacher", checkpoint, "--student", "1x9x3", *size]
    argv += ["--activation", activation, "--max-len", 24, "--baselines", "none", "--out", out]
    for phase in ("general", "finetune", "intermediate", "prediction"):
        argv += ["--steps", f"{phase}=8", "--rate", f"{phase}=1e-2"]
    assert main(["distill", *(str(a) for a in argv)]) == 0
    theirs = load(transformers.AutoModelForSequenceClassification, out / "student")
    assert type(theirs).__name__.startswith("Albert" if size else "Bert")
    assert theirs.config.hidden_act == activation
    texts = load_folder(data).dev.first
    expected, encoded = call(theirs, out / "student", [*texts, "Ein FILM, naïve!"])
    tokenizer = load_tokenizer(out / "student")
    ours, _ = encode_examples(tokenizer, [*texts, "Ein FILM, naïve!"], max_len=24)
    for row, ids in zip(encoded["input_ids"].numpy(), ours.ids, strict=True):
        np.testing.assert_array_equal(row[: len(ids)], ids)
    logits = predict_logits(from_pretrained(out / "student"), ours, 0)
    assert np.ptp(logits) > 0.01
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_the_command_that_compares(kind, checkpoint, tmp_path, capsys):
    data, folder = tiny_task.write_task(tmp_path / "task", kind), tmp_path / "model"
    model, _ = start_classifier(checkpoint, load_folder(data), np.random.default_rng(2))
    save_pretrained(model, folder, labels=load_folder(data).label_names)
    save_tokenizer(load_tokenizer(checkpoint), folder)
    line = [str(folder), "--data", str(data)]
    assert against_transformers.main(line) == 0
    said = capsys.readouterr().out
    assert f"{folder}: BertForSequenceClassification, nothing to report; logits differ by" in said
    assert "predictions equal 1.0000 of 10" in said
    arrays = load_file(folder / "model.safetensors")
    save_file(arrays | {"odd": np.ones(3, np.float32)}, folder / "model.safetensors")
    assert against_transformers.main(line) == 2  # here it is refused
    assert "unexpected odd" in capsys.readouterr().err


def test_a_masked_lm_head(checkpoint, tmp_path):
    (tmp_path / "some.txt").write_text("\n".join(TEXTS), "utf-8")
    argv = ["--model", checkpoint, "--unlabelled", tmp_path / "some.txt", "--max-len", 20]
    argv += ["--rate", 1e-2, "--epochs", 3, "--out", tmp_path / "run"]
    assert main(["mlm-head", *(str(a) for a in argv)]) == 0
    folder = tmp_path / "run" / "model"
    theirs = load(transformers.AutoModelForMaskedLM, folder)
    text = ["the [MASK] was fine and dull", "they [MASK]"]
    expected, encoded = call(theirs, folder, text)
    ids, keep = encoded["input_ids"].numpy(), encoded["attention_mask"].numpy().astype(bool)
    assert (ids == 4).sum() == 2
    output, _ = from_pretrained(folder).forward(ids, keep)
    logits = output.logits.reshape(expected.shape)
    np.testing.assert_allclose(logits[keep], expected[keep], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["encoder", "masked_lm"])
def test_it_begins_as_transformers_does(kind, checkpoint, tmp_path):
    """The pooler is read if it is there, and new if not."""
    folder = checkpoint if kind == "encoder" else write_checkpoint(tmp_path / "m", kind)
    task = load_folder(tiny_task.write_task(tmp_path / "task"))
    model, origin = start_classifier(folder, task, np.random.default_rng(0))
    theirs, info = transformers.BertForSequenceClassification.from_pretrained(
        folder, output_loading_info=True, local_files_only=True
    )
    new = {name.rsplit(".", 1)[0] for name in info["missing_keys"]}
    drawn = {"classifier"} if kind == "encoder" else {"classifier", "bert.pooler.dense"}
    assert new == drawn
    assert ("pooler and classifier drawn" in origin) == (kind == "masked_lm")
    state = {name: a.numpy() for name, a in theirs.state_dict().items()}
    layer = "encoder.layer.1.output.dense.weight"
    np.testing.assert_array_equal(
        model.params["encoder.layers.1.feedforward.w_2"], state[f"bert.{layer}"].T
    )
    if kind == "encoder":
        np.testing.assert_array_equal(model.params["pooler.w"], state["bert.pooler.dense.weight"].T)
