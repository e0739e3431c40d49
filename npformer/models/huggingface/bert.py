"""BERT's names, and TinyBERT's."""

from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.family import Family, Field, Model, Row, rows
from npformer.models.masked_lm import MaskedLM

FIELDS = (
    Field("vocab_size", "vocab_size", int),
    Field("d_model", "hidden_size", int),
    Field("num_heads", "num_attention_heads", int),
    Field("num_layers", "num_hidden_layers", int),
    Field("d_ff", "intermediate_size", int),
    Field("max_len", "max_position_embeddings", int),
    Field("num_segments", "type_vocab_size", int, 2),
    Field("activation", "hidden_act", str, "gelu"),
    Field("dropout", "hidden_dropout_prob", float, 0.1),
    Field("attention_dropout", "attention_probs_dropout_prob", float, 0.1),
    Field("initializer_range", "initializer_range", float, 0.02),
    Field("layer_norm_eps", "layer_norm_eps", float, 1e-12),
)
CLASSIFIERS = SequenceClassifier, TokenClassifier
CLASSIFIER_DROPOUT = Field(
    "classifier_dropout", "classifier_dropout", float, None, only=CLASSIFIERS
)
FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
}
NEUTRAL = frozenset(
    """
    _attn_implementation_autoset _commit_hash _name_or_path attn_implementation
    bos_token_id chunk_size_feed_forward cls_token_id dtype eos_token_id finetuning_task
    gradient_checkpointing mask_token_id output_attentions output_hidden_states
    output_past pad_token_id return_dict sep_token_id tokenizer_class torch_dtype
    torchscript transformers_version use_cache
    """.split()
)
# transformers does not read these either; bert-base-chinese has the first six, TinyBERT the rest.
IGNORED = frozenset(
    """
    directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers
    pooler_size_per_head pooler_type cell emb_size pre_trained structure training
    """.split()
)


def architectures(name: str) -> dict[str, type[Model]]:
    """Return what transformers calls the models of a family like BERT."""
    return {
        f"{name}Model": Encoder,
        f"{name}ForSequenceClassification": SequenceClassifier,
        f"{name}ForTokenClassification": TokenClassifier,
        f"{name}ForMaskedLM": MaskedLM,
    }


EMBEDDINGS = rows(
    "embeddings.",
    "embeddings.",
    {
        "token": "word_embeddings",
        "position": "position_embeddings",
        "segment": "token_type_embeddings",
        "gamma": "LayerNorm",
    },
)
LAYERS = rows(
    "layers.{i}.",
    "encoder.layer.{i}.",
    {
        "attention.w_q": "attention.self.query",
        "attention.w_k": "attention.self.key",
        "attention.w_v": "attention.self.value",
        "attention.w_o": "attention.output.dense",
        "norm_1.gamma": "attention.output.LayerNorm",
        "feedforward.w_1": "intermediate.dense",
        "feedforward.w_2": "output.dense",
        "norm_2.gamma": "output.LayerNorm",
    },
)
BERT = Family(
    model_type="bert",
    prefix="bert.",
    architectures=architectures("Bert") | {"BertForPreTraining": MaskedLM},
    fields=(*FIELDS, CLASSIFIER_DROPOUT),
    fixed=FIXED,
    neutral=NEUTRAL | IGNORED,
    rows=EMBEDDINGS + LAYERS,
    heads={
        **dict.fromkeys(
            CLASSIFIERS,
            rows("", "", {"pooler.w": "bert.pooler.dense", "classifier.w": "classifier"}),
        ),
        MaskedLM: (
            *rows(
                "head.",
                "cls.predictions.transform.",
                {"w": "dense", "gamma": "LayerNorm"},
            ),
            Row("head.b_decoder", "cls.predictions.bias"),
        ),
    },
    copies={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    unused=("pooler.dense.*", "embeddings.position_ids", "cls.seq_relationship.*"),
)
