"""ALBERT's names: a BERT whose tables are narrower than its layers.

Only those ALBERTs whose layers have weights of their own. The released ones share one layer's
weights among all layers, which our encoder cannot: here training would move them apart.
"""

from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.bert import CLASSIFIER, EMBEDDINGS, FIELDS, FIXED, NEUTRAL
from npformer.models.huggingface.family import ArrayName, Family, Field
from npformer.models.masked_lm import MaskedLM

DEFAULTS = {
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
CLASSIFIER_DROPOUT = Field("classifier_dropout", "classifier_dropout_prob", float, 0.1)
ALBERT = Family(
    model_type="albert",
    prefix="albert.",
    architectures={
        "AlbertModel": Encoder,
        "AlbertForSequenceClassification": SequenceClassifier,
        "AlbertForTokenClassification": TokenClassifier,
        "AlbertForMaskedLM": MaskedLM,
        "AlbertForPreTraining": MaskedLM,
    },
    fields=(
        *(field._replace(default=DEFAULTS.get(field.theirs, field.default)) for field in FIELDS),
        Field("embedding_size", "embedding_size", int),
    ),
    own_weights="num_hidden_groups",
    classifier_dropout=dict.fromkeys((SequenceClassifier, TokenClassifier), CLASSIFIER_DROPOUT),
    fixed=FIXED | {"inner_group_num": 1},
    neutral=NEUTRAL,
    embeddings=(
        *EMBEDDINGS,
        ArrayName("embeddings.projection.w", "encoder.embedding_hidden_mapping_in.weight", "ED"),
        ArrayName("embeddings.projection.b", "encoder.embedding_hidden_mapping_in.bias", "D"),
    ),
    layers="encoder.albert_layer_groups",
    layer=tuple(
        ArrayName(ours, f"albert_layers.0.{theirs}", axes)
        for ours, theirs, axes in (
            ("attention.w_q", "attention.query.weight", "DD"),
            ("attention.b_q", "attention.query.bias", "D"),
            ("attention.w_k", "attention.key.weight", "DD"),
            ("attention.b_k", "attention.key.bias", "D"),
            ("attention.w_v", "attention.value.weight", "DD"),
            ("attention.b_v", "attention.value.bias", "D"),
            ("attention.w_o", "attention.dense.weight", "DD"),
            ("attention.b_o", "attention.dense.bias", "D"),
            ("norm_1.gamma", "attention.LayerNorm.weight", "D"),
            ("norm_1.beta", "attention.LayerNorm.bias", "D"),
            ("feedforward.w_1", "ffn.weight", "DF"),
            ("feedforward.b_1", "ffn.bias", "F"),
            ("feedforward.w_2", "ffn_output.weight", "FD"),
            ("feedforward.b_2", "ffn_output.bias", "D"),
            ("norm_2.gamma", "full_layer_layer_norm.weight", "D"),
            ("norm_2.beta", "full_layer_layer_norm.bias", "D"),
        )
    ),
    heads={
        Encoder: (),
        TokenClassifier: CLASSIFIER,
        SequenceClassifier: (
            ArrayName("pooler.w", "albert.pooler.weight", "DD"),
            ArrayName("pooler.b", "albert.pooler.bias", "D"),
            *CLASSIFIER,
        ),
        MaskedLM: (
            ArrayName("head.w", "predictions.dense.weight", "DE"),
            ArrayName("head.b", "predictions.dense.bias", "E"),
            ArrayName("head.gamma", "predictions.LayerNorm.weight", "E"),
            ArrayName("head.beta", "predictions.LayerNorm.bias", "E"),
            ArrayName("head.b_decoder", "predictions.bias", "V"),
        ),
    },
    tied={
        "predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    unused=frozenset(
        {
            "pooler.weight",
            "pooler.bias",
            "embeddings.position_ids",
            "sop_classifier.classifier.weight",
            "sop_classifier.classifier.bias",
        }
    ),
)
