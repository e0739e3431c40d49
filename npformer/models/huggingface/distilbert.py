"""DistilBERT's names: a BERT without segments and pooler, its classifier behind a relu."""

from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.bert import CLASSIFIER, EMBEDDINGS, FIXED, NEUTRAL
from npformer.models.huggingface.family import ArrayName, Family, Field
from npformer.models.masked_lm import MaskedLM

DISTILBERT = Family(
    model_type="distilbert",
    prefix="distilbert.",
    architectures={
        "DistilBertModel": Encoder,
        "DistilBertForSequenceClassification": SequenceClassifier,
        "DistilBertForTokenClassification": TokenClassifier,
        "DistilBertForMaskedLM": MaskedLM,
    },
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("d_model", "dim", int),
        Field("num_heads", "n_heads", int),
        Field("num_layers", "n_layers", int),
        Field("d_ff", "hidden_dim", int),
        Field("max_len", "max_position_embeddings", int),
        Field("activation", "activation", str, "gelu"),
        Field("dropout", "dropout", float, 0.1),
        Field("attention_dropout", "attention_dropout", float, 0.1),
        Field("initializer_range", "initializer_range", float, 0.02),
    ),
    classifier_dropout={
        SequenceClassifier: Field("classifier_dropout", "seq_classif_dropout", float, 0.2)
    },
    fixed=FIXED | {"sinusoidal_pos_embds": False, "tie_weights_": True},
    neutral=NEUTRAL | {"qa_dropout"},
    embeddings=tuple(row for row in EMBEDDINGS if row.axes != "GE"),
    layer=(
        ArrayName("attention.w_q", "attention.q_lin.weight", "DD"),
        ArrayName("attention.b_q", "attention.q_lin.bias", "D"),
        ArrayName("attention.w_k", "attention.k_lin.weight", "DD"),
        ArrayName("attention.b_k", "attention.k_lin.bias", "D"),
        ArrayName("attention.w_v", "attention.v_lin.weight", "DD"),
        ArrayName("attention.b_v", "attention.v_lin.bias", "D"),
        ArrayName("attention.w_o", "attention.out_lin.weight", "DD"),
        ArrayName("attention.b_o", "attention.out_lin.bias", "D"),
        ArrayName("norm_1.gamma", "sa_layer_norm.weight", "D"),
        ArrayName("norm_1.beta", "sa_layer_norm.bias", "D"),
        ArrayName("feedforward.w_1", "ffn.lin1.weight", "DF"),
        ArrayName("feedforward.b_1", "ffn.lin1.bias", "F"),
        ArrayName("feedforward.w_2", "ffn.lin2.weight", "FD"),
        ArrayName("feedforward.b_2", "ffn.lin2.bias", "D"),
        ArrayName("norm_2.gamma", "output_layer_norm.weight", "D"),
        ArrayName("norm_2.beta", "output_layer_norm.bias", "D"),
    ),
    layers="transformer.layer",
    heads={
        Encoder: (),
        TokenClassifier: CLASSIFIER,
        SequenceClassifier: (
            ArrayName("pooler.w", "pre_classifier.weight", "DD"),
            ArrayName("pooler.b", "pre_classifier.bias", "D"),
            *CLASSIFIER,
        ),
        MaskedLM: (
            ArrayName("head.w", "vocab_transform.weight", "DD"),
            ArrayName("head.b", "vocab_transform.bias", "D"),
            ArrayName("head.gamma", "vocab_layer_norm.weight", "D"),
            ArrayName("head.beta", "vocab_layer_norm.bias", "D"),
            ArrayName("head.b_decoder", "vocab_projector.bias", "V"),
        ),
    },
    tied={"vocab_projector.weight": "embeddings.word_embeddings.weight"},
    unused=frozenset({"embeddings.position_ids"}),
    constants={
        "num_segments": 0,
        "layer_norm_eps": 1e-12,
        "tanh_pooler": False,
        "relu_before_classifier": True,
    },
)
