"""GPT-2's names: fused queries, keys and values; weights stored (in, out), as here."""

from npformer.models.causal_lm import CausalLM
from npformer.models.huggingface.bert import NEUTRAL
from npformer.models.huggingface.family import Family, Field, rows

FIXED = {
    "add_cross_attention": False,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "tie_word_embeddings": True,
}
GPT2 = Family(
    model_type="gpt2",
    architectures={"GPT2LMHeadModel": CausalLM},
    fields=(
        Field("vocab_size", "vocab_size", int),
        Field("max_len", "n_positions", int),
        Field("d_model", "n_embd", int),
        Field("num_layers", "n_layer", int),
        Field("num_heads", "n_head", int),
        Field("dropout", "resid_pdrop", float, 0.1),
        Field("attention_dropout", "attn_pdrop", float, 0.1),
        Field("layer_norm_eps", "layer_norm_epsilon", float, 1e-5),
        Field("initializer_range", "initializer_range", float, 0.02),
        Field("d_ff", "n_inner", int, None),
        Field("dropout", "embd_pdrop", float, 0.1, because="both are one here"),
        Field("activation", "activation_function", str, "gelu_new"),
    ),
    read=lambda fields: {"d_ff": fields["n_inner"] or 4 * fields["n_embd"]},
    fixed=FIXED,
    neutral=NEUTRAL.union(
        """
        n_ctx reorder_and_upcast_attn summary_activation summary_first_dropout
        summary_proj_to_labels summary_type summary_use_proj task_specific_params
        """.split()
    ),
    constants={"positions": "learned", "scale_embeddings": False, "norm_first": True},
    written=FIXED,
    rows=(
        *rows(
            "",
            "transformer.",
            {"embeddings.token": "wte", "embeddings.position": "wpe", "norm.gamma": "ln_f"},
        ),
        *rows(
            "layers.{i}.",
            "transformer.h.{i}.",
            {
                "norm_1.gamma": "ln_1",
                "norm_2.gamma": "ln_2",
                **dict.fromkeys(("attention.w_q", "attention.w_k", "attention.w_v"), "attn.c_attn"),
                "attention.w_o": "attn.c_proj",
                "feedforward.w_1": "mlp.c_fc",
                "feedforward.w_2": "mlp.c_proj",
            },
            transposed=False,
        ),
    ),
    copies={"lm_head.weight": "transformer.wte.weight"},
    unused=("*.attn.bias", "*.attn.masked_bias"),  # old files hold the causal mask of each layer
)
