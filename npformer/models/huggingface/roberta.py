"""RoBERTa's names: a BERT whose positions begin after its padding id.

Its classifier's dense layer and tanh are BERT's pooler; its masked-LM head knows GELU alone.
"""

from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.bert import (
    CLASSIFIER,
    CLASSIFIER_DROPOUT,
    EMBEDDINGS,
    FIELDS,
    FIXED,
    LAYER,
    NEUTRAL,
)
from npformer.models.huggingface.family import ArrayName, Family, Field
from npformer.models.masked_lm import MaskedLM

ROBERTA = Family(
    model_type="roberta",
    prefix="roberta.",
    architectures={
        "RobertaModel": Encoder,
        "RobertaForSequenceClassification": SequenceClassifier,
        "RobertaForTokenClassification": TokenClassifier,
        "RobertaForMaskedLM": MaskedLM,
    },
    fields=FIELDS,
    classifier_dropout=dict.fromkeys((SequenceClassifier, TokenClassifier), CLASSIFIER_DROPOUT),
    fixed=FIXED,
    fixed_for={MaskedLM: {"hidden_act": "gelu"}},
    neutral=NEUTRAL - {"pad_token_id"},
    padding=Field("", "pad_token_id", int, 1),
    embeddings=EMBEDDINGS,
    layer=LAYER,
    heads={
        Encoder: (),
        TokenClassifier: CLASSIFIER,
        SequenceClassifier: (
            ArrayName("pooler.w", "classifier.dense.weight", "DD"),
            ArrayName("pooler.b", "classifier.dense.bias", "D"),
            ArrayName("classifier.w", "classifier.out_proj.weight", "DC"),
            ArrayName("classifier.b", "classifier.out_proj.bias", "C"),
        ),
        MaskedLM: (
            ArrayName("head.w", "lm_head.dense.weight", "DD"),
            ArrayName("head.b", "lm_head.dense.bias", "D"),
            ArrayName("head.gamma", "lm_head.layer_norm.weight", "D"),
            ArrayName("head.beta", "lm_head.layer_norm.bias", "D"),
            ArrayName("head.b_decoder", "lm_head.bias", "V"),
        ),
    },
    tied={
        "lm_head.decoder.weight": "embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    unused=frozenset({"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"}),
)
