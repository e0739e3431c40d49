"""DistilBERT's names: a BERT without segments and pooler, its classifier behind a relu."""

from npformer.models.heads import SequenceClassifier
from npformer.models.huggingface.bert import CLASSIFIERS, EMBEDDINGS, FIXED, NEUTRAL, architectures
from npformer.models.huggingface.family import Family, Field, Row, rows
from npformer.models.masked_lm import MaskedLM

DISTILBERT = Family(
    model_type="distilbert",
    prefix="distilbert.",
    architectures=architectures("DistilBert"),
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
        Field("classifier_dropout", "seq_classif_dropout", float, 0.2, only=(SequenceClassifier,)),
    ),
    fixed=FIXED | {"sinusoidal_pos_embds": False, "tie_weights_": True},
    neutral=NEUTRAL | {"qa_dropout"},
    rows=EMBEDDINGS
    + rows(
        "layers.{i}.",
        "transformer.layer.{i}.",
        {
            "attention.w_q": "attention.q_lin",
            "attention.w_k": "attention.k_lin",
            "attention.w_v": "attention.v_lin",
            "attention.w_o": "attention.out_lin",
            "norm_1.gamma": "sa_layer_norm",
            "feedforward.w_1": "ffn.lin1",
            "feedforward.w_2": "ffn.lin2",
            "norm_2.gamma": "output_layer_norm",
        },
    ),
    heads={
        **dict.fromkeys(
            CLASSIFIERS, rows("", "", {"pooler.w": "pre_classifier", "classifier.w": "classifier"})
        ),
        MaskedLM: (
            *rows("head.", "vocab_", {"w": "transform", "gamma": "layer_norm"}),
            Row("head.b_decoder", "vocab_projector.bias"),
        ),
    },
    copies={"vocab_projector.weight": "embeddings.word_embeddings.weight"},
    unused=("embeddings.position_ids",),
    constants={
        "num_segments": 0,
        "layer_norm_eps": 1e-12,
        "tanh_pooler": False,
        "relu_before_classifier": True,
    },
)
