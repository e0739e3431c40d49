"""Write parity/frozen/bert.json: what transformers gives for the tiny BERT of models/frozen.py.

Run from the repository's root, with the extra `parity` installed:
``PYTHONPATH=tests python tests/parity/freeze.py``
"""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from models import frozen
from safetensors.numpy import load_file

from npformer.models.huggingface import save_pretrained
from npformer.models.huggingface.tensors import array_rows

THEIRS: dict[str, Any] = {
    "sequence": transformers.BertForSequenceClassification,
    "token": transformers.BertForTokenClassification,
    "masked_lm": transformers.BertForMaskedLM,
}


def numbers() -> dict[str, Any]:
    """Return everything that is frozen; rows of padding are left out."""
    return {kind: run(kind) for kind in THEIRS} | states()


def load(kind: str) -> Any:
    model = frozen.make(kind)
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        save_pretrained(model, folder)
        config = transformers.BertConfig.from_pretrained(folder, attn_implementation="eager")
        stored = load_file(folder / "model.safetensors")
    theirs = THEIRS[kind](config).double().eval()
    theirs.load_state_dict({n: torch.tensor(a) for n, a in stored.items()}, strict=False)
    return theirs


def call(theirs: Any, **more: Any) -> Any:
    return theirs(
        input_ids=torch.tensor(frozen.IDS),
        attention_mask=torch.tensor(frozen.KEEP).long(),
        token_type_ids=torch.tensor(frozen.SEGMENTS),
        **more,
    )


def run(kind: str) -> dict[str, Any]:
    theirs, model = load(kind), frozen.make(kind)
    output = call(theirs, labels=torch.tensor(frozen.LABELS[kind]))
    output.loss.backward()
    named = dict(theirs.named_parameters())
    gradients = {}
    for row in array_rows(type(model), model.config):
        if row.ours in frozen.gradient_names(kind):
            g = named[row.theirs].grad
            gradients[row.ours] = (g.T if row.transposed else g).tolist()
    logits = output.logits if kind == "sequence" else output.logits[torch.tensor(frozen.KEEP)]
    return {"loss": output.loss.item(), "logits": logits.tolist(), "gradients": gradients}


def states() -> dict[str, Any]:
    theirs = load("sequence")
    seen: dict[str, list[Any]] = {"query": [], "key": []}
    for layer in theirs.bert.encoder.layer:
        for name, outputs in seen.items():
            module = getattr(layer.attention.self, name)
            module.register_forward_hook(lambda m, x, y, outputs=outputs: outputs.append(y))
    output = call(theirs, output_hidden_states=True)
    keep = torch.tensor(frozen.KEEP)
    heads = frozen.SIZES["num_heads"]
    scores = []
    for q, k in zip(seen["query"], seen["key"], strict=True):
        q, k = (x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k))  # (B, H, T, K)
        a = q @ k.mT / math.sqrt(q.shape[-1])  # (B, H, T, T)
        scores.append(a.transpose(1, 2)[keep].tolist())
    return {"hidden": [h[keep].tolist() for h in output.hidden_states], "scores": scores}


if __name__ == "__main__":
    frozen.FILE.parent.mkdir(exist_ok=True)
    frozen.FILE.write_text(json.dumps(numbers()) + "\n", encoding="utf-8")
