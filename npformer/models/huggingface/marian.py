"""Marian's names: the original Transformer with one table for both sides and the output."""

from npformer.models.huggingface.bert import NEUTRAL
from npformer.models.huggingface.family import Family, Field, Row, rows
from npformer.models.seq2seq import Seq2Seq

FIXED = {
    "activation_dropout": 0.0,
    "add_bias_logits": False,
    "add_final_layer_norm": False,
    "decoder_layerdrop": 0.0,
    "encoder_layerdrop": 0.0,
    "is_decoder": False,
    "is_encoder_decoder": True,
    "normalize_before": False,
    "normalize_embedding": False,
    "share_encoder_decoder_embeddings": True,
    "static_position_embeddings": True,
    "tie_word_embeddings": True,
}
FEEDFORWARD = {"feedforward.w_1": "fc1", "feedforward.w_2": "fc2"}
MAPS = {"w_q": "q_proj", "w_k": "k_proj", "w_v": "v_proj", "w_o": "out_proj"}
MARIAN = Family(
    model_type="marian",
    architectures={"MarianMTModel": Seq2Seq},
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("d_model", "d_model", int),
        Field("num_heads", "encoder_attention_heads", int),
        Field("d_ff", "encoder_ffn_dim", int),
        Field("num_encoder_layers", "encoder_layers", int),
        Field("num_decoder_layers", "decoder_layers", int),
        Field("max_len", "max_position_embeddings", int, 1024),
        Field("dropout", "dropout", float, 0.1),
        Field("attention_dropout", "attention_dropout", float, 0.0),
        Field("initializer_range", "init_std", float, 0.02),
        Field("vocab_size", "decoder_vocab_size", int, None),
        Field("num_heads", "decoder_attention_heads", int),
        Field("d_ff", "decoder_ffn_dim", int),
        Field("activation", "activation_function", str, "gelu"),
        Field("scale_embeddings", "scale_embedding", bool, False),
    ),
    read=lambda fields: {"target_vocab_size": fields["vocab_size"]},
    fixed=FIXED,
    neutral=NEUTRAL.union(
        """
        bad_words_ids classif_dropout classifier_dropout decoder_start_token_id
        extra_pos_embeddings forced_eos_token_id id2label label2id max_length num_beams
        num_hidden_layers
        """.split()
    ),
    constants={
        "positions": "sinusoidal",
        "sinusoidal_layout": "half-split",
        "shared_embeddings": True,
        "layer_norm_eps": 1e-5,
    },
    # Which ids pad, start and end is the tokenizer's business; theirs would be 58100.
    written=FIXED | {"pad_token_id": None, "decoder_start_token_id": 0},
    rows=(
        Row("embeddings.token", "model.shared.weight"),
        Row("output.b", "final_logits_bias", place="row"),
        *rows(
            "encoder.layers.{i}.",
            "model.encoder.layers.{i}.",
            {
                **{f"attention.{ours}": f"self_attn.{theirs}" for ours, theirs in MAPS.items()},
                **FEEDFORWARD,
                "norm_1.gamma": "self_attn_layer_norm",
                "norm_2.gamma": "final_layer_norm",
            },
        ),
        *rows(
            "decoder.layers.{i}.",
            "model.decoder.layers.{i}.",
            {
                **{f"self_attention.{o}": f"self_attn.{theirs}" for o, theirs in MAPS.items()},
                **{f"cross_attention.{o}": f"encoder_attn.{theirs}" for o, theirs in MAPS.items()},
                **FEEDFORWARD,
                "norm_1.gamma": "self_attn_layer_norm",
                "norm_2.gamma": "encoder_attn_layer_norm",
                "norm_3.gamma": "final_layer_norm",
            },
        ),
    ),
    copies=dict.fromkeys(
        (
            "model.encoder.embed_tokens.weight",
            "model.decoder.embed_tokens.weight",
            "lm_head.weight",
        ),
        "model.shared.weight",
    ),
    unused=("*.embed_positions.weight",),  # the sinusoids: computed here
)
