"""BERT's names, and TinyBERT's."""

from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier, TokenClassifier
from npformer.models.huggingface.family import ArrayName, Family, Field
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
CLASSIFIER_DROPOUT = Field("classifier_dropout", "classifier_dropout", float, None)
FIXED = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
    "pruned_heads": {},
}
NEUTRAL = frozenset(
    {
        "_attn_implementation_autoset",
        "_commit_hash",
        "_name_or_path",
        "attn_implementation",
        "bos_token_id",
        "chunk_size_feed_forward",
        "cls_token_id",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "mask_token_id",
        "output_attentions",
        "output_hidden_states",
        "output_past",
        "pad_token_id",
        "return_dict",
        "sep_token_id",
        "tokenizer_class",
        "torch_dtype",
        "torchscript",
        "transformers_version",
        "use_cache",
    }
)
# transformers does not read these either; bert-base-chinese has the first six, TinyBERT the rest.
IGNORED = frozenset(
    {
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "cell",
        "emb_size",
        "pre_trained",
        "structure",
        "training",
    }
)

EMBEDDINGS = (
    ArrayName("embeddings.token", "embeddings.word_embeddings.weight", "VE"),
    ArrayName("embeddings.position", "embeddings.position_embeddings.weight", "PE"),
    ArrayName("embeddings.segment", "embeddings.token_type_embeddings.weight", "GE"),
    ArrayName("embeddings.gamma", "embeddings.LayerNorm.weight", "E"),
    ArrayName("embeddings.beta", "embeddings.LayerNorm.bias", "E"),
)
LAYER = (
    ArrayName("attention.w_q", "attention.self.query.weight", "DD"),
    ArrayName("attention.b_q", "attention.self.query.bias", "D"),
    ArrayName("attention.w_k", "attention.self.key.weight", "DD"),
    ArrayName("attention.b_k", "attention.self.key.bias", "D"),
    ArrayName("attention.w_v", "attention.self.value.weight", "DD"),
    ArrayName("attention.b_v", "attention.self.value.bias", "D"),
    ArrayName("attention.w_o", "attention.output.dense.weight", "DD"),
    ArrayName("attention.b_o", "attention.output.dense.bias", "D"),
    ArrayName("norm_1.gamma", "attention.output.LayerNorm.weight", "D"),
    ArrayName("norm_1.beta", "attention.output.LayerNorm.bias", "D"),
    ArrayName("feedforward.w_1", "intermediate.dense.weight", "DF"),
    ArrayName("feedforward.b_1", "intermediate.dense.bias", "F"),
    ArrayName("feedforward.w_2", "output.dense.weight", "FD"),
    ArrayName("feedforward.b_2", "output.dense.bias", "D"),
    ArrayName("norm_2.gamma", "output.LayerNorm.weight", "D"),
    ArrayName("norm_2.beta", "output.LayerNorm.bias", "D"),
)
CLASSIFIER = (
    ArrayName("classifier.w", "classifier.weight", "DC"),
    ArrayName("classifier.b", "classifier.bias", "C"),
)
BERT = Family(
    model_type="bert",
    prefix="bert.",
    architectures={
        "BertModel": Encoder,
        "BertForSequenceClassification": SequenceClassifier,
        "BertForTokenClassification": TokenClassifier,
        "BertForMaskedLM": MaskedLM,
        "BertForPreTraining": MaskedLM,
    },
    fields=FIELDS,
    classifier_dropout=dict.fromkeys((SequenceClassifier, TokenClassifier), CLASSIFIER_DROPOUT),
    fixed=FIXED,
    neutral=NEUTRAL | IGNORED,
    embeddings=EMBEDDINGS,
    layer=LAYER,
    heads={
        Encoder: (),
        TokenClassifier: CLASSIFIER,
        SequenceClassifier: (
            ArrayName("pooler.w", "bert.pooler.dense.weight", "DD"),
            ArrayName("pooler.b", "bert.pooler.dense.bias", "D"),
            *CLASSIFIER,
        ),
        MaskedLM: (
            ArrayName("head.w", "cls.predictions.transform.dense.weight", "DD"),
            ArrayName("head.b", "cls.predictions.transform.dense.bias", "D"),
            ArrayName("head.gamma", "cls.predictions.transform.LayerNorm.weight", "D"),
            ArrayName("head.beta", "cls.predictions.transform.LayerNorm.bias", "D"),
            ArrayName("head.b_decoder", "cls.predictions.bias", "V"),
        ),
    },
    tied={
        "cls.predictions.decoder.weight": "embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    unused=frozenset(
        {
            "pooler.dense.weight",
            "pooler.dense.bias",
            "embeddings.position_ids",
            "cls.seq_relationship.weight",
            "cls.seq_relationship.bias",
        }
    ),
)
