"""RoBERTa's names: a BERT whose positions begin after its padding id.

Its classifier's dense layer and tanh are BERT's pooler; its masked-LM head knows GELU alone.
"""

from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.bert import (
    CLASSIFIER_DROPOUT,
    EMBEDDINGS,
    FIELDS,
    FIXED,
    LAYERS,
    NEUTRAL,
    architectures,
)
from npformer.models.huggingface.family import Family, Field, Row, rows
from npformer.models.masked_lm import MaskedLM

ROBERTA = Family(
    model_type="roberta",
    prefix="roberta.",
    architectures=architectures("Roberta"),
    fields=(*FIELDS, CLASSIFIER_DROPOUT),
    fixed=FIXED,
    fixed_for={MaskedLM: {"hidden_act": "gelu"}},
    neutral=NEUTRAL - {"pad_token_id"},
    padding=Field("", "pad_token_id", int, 1),
    rows=tuple(
        row._replace(place="after padding") if row.ours == "embeddings.position" else row
        for row in EMBEDDINGS + LAYERS
    ),
    heads={
        TokenClassifier: rows("", "", {"classifier.w": "classifier"}),
        SequenceClassifier: rows(
            "", "classifier.", {"pooler.w": "dense", "classifier.w": "out_proj"}
        ),
        MaskedLM: (
            *rows("head.", "lm_head.", {"w": "dense", "gamma": "layer_norm"}),
            Row("head.b_decoder", "lm_head.bias"),
        ),
    },
    copies={
        "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    unused=("pooler.dense.*", "embeddings.position_ids"),
)
