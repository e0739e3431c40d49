"""Hugging Face transformers' BERT with fused attention, and PyTorch's optimizer."""

import os

# Before the import: nothing is ever downloaded here, and nothing should look.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.case import Case, Step, Values
from benchmarks.contenders.inputs import make_model
from benchmarks.contenders.torch_steps import padded, training_step
from npformer.models import SequenceClassifier
from npformer.models.huggingface.tensors import array_rows


def make(case: Case) -> Step:
    """Set ``case`` up."""
    torch.set_num_threads(case.threads)
    net = _same_model(make_model(case.shape, case.dropout)).eval()
    batches = [
        (ids, None if mask is None else mask[:, 0, 0, :], labels)
        for ids, mask, labels in padded(case)
    ]

    def losses(i: int) -> dict[str, Tensor]:
        ids, keep, labels = batches[i]
        return {"loss": net(input_ids=ids, attention_mask=keep, labels=labels).loss}

    def predict(i: int, dropout: bool) -> Values:
        ids, keep, _ = batches[i]
        with torch.inference_mode():
            logits = net(input_ids=ids, attention_mask=keep).logits
        return {"logits": logits.flatten().tolist()}

    return training_step(net, losses) if case.mode == "train" else predict


def about() -> dict[str, str]:
    """Return the version."""
    return {"version": transformers.__version__, "torch": torch.__version__}


def _same_model(model: SequenceClassifier) -> BertForSequenceClassification:
    c = model.config
    net = BertForSequenceClassification(
        BertConfig(
            vocab_size=c.vocab_size,
            hidden_size=c.d_model,
            num_hidden_layers=c.num_layers,
            num_attention_heads=c.num_heads,
            intermediate_size=c.d_ff,
            max_position_embeddings=c.max_len,
            hidden_dropout_prob=c.dropout,
            attention_probs_dropout_prob=c.attention_dropout,
            num_labels=c.num_classes,
            pad_token_id=None,  # no row of the table is without a gradient
            attn_implementation="sdpa",
        )
    )
    state = {}
    for row in array_rows(SequenceClassifier, c):
        array = model.params[row.ours]
        state[row.theirs] = torch.from_numpy(array.T if row.transposed else array)
    result = net.load_state_dict(state, strict=False)
    if result.unexpected_keys or any("position_ids" not in name for name in result.missing_keys):
        raise RuntimeError(f"transformers has other arrays than we know: {result}")
    return net
