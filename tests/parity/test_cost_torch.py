"""The cost model's parameters against the number that transformers counts."""

import pytest

from npformer.models import (
    ClassifierConfig,
    Encoder,
    MaskedLM,
    SequenceClassifier,
    TokenClassifier,
    preset,
)
from npformer.models.cost import Workload, count_parameters

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

SIZES = {
    "vocab_size": 29,
    "max_len": 11,
    "d_model": 12,
    "num_heads": 3,
    "num_layers": 2,
    "d_ff": 10,
}
CASES = {
    "without pooler": (Encoder, False, "BertModel", {"add_pooling_layer": False}),
    "with pooler": (Encoder, True, "BertModel", {}),
    "sequence": (SequenceClassifier, False, "BertForSequenceClassification", {}),
    "token": (TokenClassifier, False, "BertForTokenClassification", {}),
    "masked_lm": (MaskedLM, False, "BertForMaskedLM", {}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sizes", [SIZES, preset("tinybert-4").to_dict()], ids=["small", "tiny"])
def test_parameters(case, sizes):
    kind, pooler, name, options = CASES[case]
    config = ClassifierConfig(**sizes, num_classes=5)
    theirs = transformers.BertConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.d_ff,
        max_position_embeddings=config.max_len,
        num_labels=config.num_classes,
    )
    with torch.device("meta"):
        model = getattr(transformers, name)(theirs, **options)
    work = Workload(kind=kind, config=config, seq_len=7, pooler=pooler)
    assert sum(count_parameters(work).values()) == model.num_parameters()
