"""ALBERT's names: a BERT whose tables are narrower than its layers.

Only those ALBERTs whose layers have weights of their own. The released ones share one layer's
weights among all layers, which our encoder cannot: here training would move them apart.
"""

from npformer.models.huggingface.bert import (
    CLASSIFIERS,
    EMBEDDINGS,
    FIELDS,
    FIXED,
    NEUTRAL,
    architectures,
)
from npformer.models.huggingface.family import Family, Field, Row, rows
from npformer.models.masked_lm import MaskedLM

DEFAULTS = {
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
OWN_WEIGHTS = "layers that share their weights cannot be read: training would move them apart"
ALBERT = Family(
    model_type="albert",
    prefix="albert.",
    architectures=architectures("Albert") | {"AlbertForPreTraining": MaskedLM},
    fields=(
        *(field._replace(default=DEFAULTS.get(field.theirs, field.default)) for field in FIELDS),
        Field("embedding_size", "embedding_size", int),
        Field("num_layers", "num_hidden_groups", int, 1, because=OWN_WEIGHTS),
        Field("classifier_dropout", "classifier_dropout_prob", float, 0.1, only=CLASSIFIERS),
    ),
    fixed=FIXED | {"inner_group_num": 1},
    neutral=NEUTRAL,
    rows=(
        *EMBEDDINGS,
        *rows("embeddings.", "encoder.", {"projection.w": "embedding_hidden_mapping_in"}),
        *rows(
            "layers.{i}.",
            "encoder.albert_layer_groups.{i}.albert_layers.0.",
            {
                "attention.w_q": "attention.query",
                "attention.w_k": "attention.key",
                "attention.w_v": "attention.value",
                "attention.w_o": "attention.dense",
                "norm_1.gamma": "attention.LayerNorm",
                "feedforward.w_1": "ffn",
                "feedforward.w_2": "ffn_output",
                "norm_2.gamma": "full_layer_layer_norm",
            },
        ),
    ),
    heads={
        **dict.fromkeys(
            CLASSIFIERS, rows("", "", {"pooler.w": "albert.pooler", "classifier.w": "classifier"})
        ),
        MaskedLM: (
            *rows("head.", "predictions.", {"w": "dense", "gamma": "LayerNorm"}),
            Row("head.b_decoder", "predictions.bias"),
        ),
    },
    copies={
        "predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    unused=("pooler.*", "embeddings.position_ids", "sop_classifier.classifier.*"),
)
