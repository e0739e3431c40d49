"""The shape of every parameter of a model, from its configuration alone: no array is made."""

from typing import Any

from npformer.models.config import ClassifierConfig, EncoderConfig
from npformer.models.encoder import Encoder
from npformer.models.heads import SequenceClassifier
from npformer.models.masked_lm import MaskedLM
from npformer.models.seq2seq import Seq2SeqConfig

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(kind: type[Any], config: Any) -> Shapes:
    """Return the shape of every parameter, by name, in the order of ``init``."""
    if isinstance(config, Seq2SeqConfig):
        return _seq2seq(config)
    if not isinstance(config, EncoderConfig):
        return _stack(config, {"token": (config.vocab_size, config.d_model)}, config.d_model)
    below = _stack(config, _embeddings(config), config.table_width)
    if kind is Encoder:
        return below
    d, e = config.d_model, config.table_width
    shapes = _below("encoder", below)
    if kind is MaskedLM:
        narrow = dict.fromkeys(("head.b", "head.gamma", "head.beta"), (e,))
        return shapes | {"head.w": (d, e), **narrow, "head.b_decoder": (config.vocab_size,)}
    if kind is SequenceClassifier:
        shapes |= {"pooler.w": (d, d), "pooler.b": (d,)}
    classes = config.num_classes if isinstance(config, ClassifierConfig) else 0
    return shapes | {"classifier.w": (d, classes), "classifier.b": (classes,)}


def _below(prefix: str, shapes: Shapes) -> Shapes:
    return {f"{prefix}.{name}": shape for name, shape in shapes.items()}


def _embeddings(config: EncoderConfig) -> Shapes:
    e = config.table_width
    shapes: Shapes = {"token": (config.vocab_size, e)}
    if config.num_segments:
        shapes["segment"] = config.num_segments, e
    shapes |= _norm(config, e)
    if config.embedding_size is not None:
        shapes |= {"projection.w": (e, config.d_model), "projection.b": (config.d_model,)}
    return shapes


def _stack(config: Any, embeddings: Shapes, width: int) -> Shapes:
    if config.positions == "learned":
        embeddings = embeddings | {"position": (config.max_len, width)}
    shapes = _below("embeddings", embeddings)
    for i in range(config.num_layers):
        shapes |= _below(f"layers.{i}", _block(config))
    return shapes | _shared(config) | (_ends(config))


def _seq2seq(config: Seq2SeqConfig) -> Shapes:
    shared, learned = config.shared_embeddings, config.positions == "learned"
    d, sizes = config.d_model, {"source": config.vocab_size, "target": config.target_vocab_size}
    shapes: Shapes = {}
    for name, size in ({"embeddings": config.vocab_size} if shared else sizes).items():
        shapes[f"{name}.token"] = size, d
        if learned:
            shapes[f"{name}.position"] = config.max_len, d
    for side, depth, cross in (
        ("encoder", config.num_encoder_layers, False),
        ("decoder", config.num_decoder_layers, True),
    ):
        for i in range(depth):
            shapes |= _below(f"{side}.layers.{i}", _block(config, cross=cross))
        shapes |= _below(side, _shared(config) | _ends(config))
    if not shared:
        shapes["output.w"] = d, config.target_vocab_size
    if config.use_bias:
        shapes["output.b"] = (config.target_vocab_size,)
    return shapes


def _block(config: Any, *, cross: bool = False) -> Shapes:
    d, f = config.d_model, config.d_ff
    maps = {"w_1": (d, f), "w_2": (f, d)} | ({"w_3": (d, f)} if config.gated else {})
    fed = _below("feedforward", _maps(config, maps))
    if not cross:
        return {
            **_below("attention", _attention(config, positions=True)),
            **_below("norm_1", _norm(config, d)),
            **fed,
            **_below("norm_2", _norm(config, d)),
        }
    shapes = {
        **_below("self_attention", _attention(config, positions=True)),
        **_below("cross_attention", _attention(config, positions=False)),
        **fed,
    }
    for i in range(1, 4):
        shapes |= _below(f"norm_{i}", _norm(config, d))
    return shapes


def _attention(config: Any, *, positions: bool) -> Shapes:
    d, kv = config.d_model, config.kv_heads * config.head_size
    maps = {"w_q": (d, d), "w_k": (d, kv), "w_v": (d, kv), "w_o": (d, d)}
    if config.attention == "average":
        del maps["w_q"], maps["w_k"]
    relative = config.relative if positions else "none"
    if relative == "deberta":
        maps |= {"w_qr": (d, d), "w_kr": (d, d)}
    shapes = _maps(config, maps)
    if relative == "shaw":
        shapes |= dict.fromkeys(
            ("rel_k", "rel_v"), (2 * config.relative_clip + 1, config.head_size)
        )
    return shapes


def _maps(config: Any, weights: dict[str, tuple[int, int]]) -> Shapes:
    shapes: Shapes = {}
    for name, shape in weights.items():
        shapes[name] = shape
        if config.use_bias:
            shapes["b" + name[1:]] = shape[1:]
    return shapes


def _norm(config: Any, width: int) -> Shapes:
    shape: tuple[int, ...] = (width,)
    return dict.fromkeys(("gamma", "beta") if config.norm == "layer" else ("gamma",), shape)


def _ends(config: Any) -> Shapes:
    return _below("norm", _norm(config, config.d_model)) if config.norm_first else {}


def _shared(config: Any) -> Shapes:
    if config.relative == "t5":
        return {"relative_bias": (config.num_buckets, config.num_heads)}
    if config.relative == "deberta":
        return {"relative_embeddings": (2 * config.relative_clip, config.d_model)}
    return {}
