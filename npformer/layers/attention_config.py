"""The sizes and options of attention, each one consumed or refused."""

from dataclasses import dataclass, fields

from npformer.checks import InputError, check_fraction, check_positive
from npformer.layers.config import Config, check_choice, check_sizes
from npformer.layers.relative import SCHEMES

ATTENTIONS = ("softmax", "average")


@dataclass(frozen=True, kw_only=True)
class AttentionConfig(Config):
    """Sizes of `MultiHeadAttention`."""

    d_model: int
    num_heads: int
    num_kv_heads: int | None = None  # G, heads of keys and values; None means H
    use_bias: bool = True  # of the affine maps
    attention_dropout: float = 0.0  # on the probabilities
    initializer_range: float = 0.02  # standard deviation of the initial weights
    attention: str = "softmax"  # or "average": every kept value counts the same
    attention_scale: float | None = None  # c of the scores; None means 1/sqrt(K), DeBERTa's 3K
    relative: str = "none"  # positions in self-attention, a name of SCHEMES
    rotary_layout: str = "half-split"  # or "interleaved": which features make a plane
    rotary_size: int | None = None  # R, the features of a head that turn; None means all
    relative_clip: int = 16  # k, the farthest distance with a vector of its own
    num_buckets: int = 32  # T5's rows
    max_distance: int = 128  # from which on all is T5's last bucket

    def __post_init__(self) -> None:
        check_sizes(d_model=self.d_model, num_heads=self.num_heads)
        if self.d_model % self.num_heads:
            raise InputError(
                f"d_model: got {self.d_model}, expected a multiple of num_heads = {self.num_heads}"
            )
        if self.num_kv_heads is not None:
            check_sizes(num_kv_heads=self.num_kv_heads)
            if self.num_heads % self.num_kv_heads:
                raise InputError(
                    f"num_kv_heads: got {self.num_kv_heads}, expected a divisor of num_heads = "
                    f"{self.num_heads}"
                )
        check_choice("attention", self.attention, ATTENTIONS)
        check_choice("relative", self.relative, SCHEMES)
        if self.attention == "average" and self.relative != "none":
            raise InputError(
                f"relative: got {self.relative!r}, expected 'none' with attention='average', "
                "whose weights know no positions"
            )
        if self.attention_scale is not None:
            check_positive("attention_scale", self.attention_scale)
            if self.attention == "average":
                raise InputError(
                    f"attention_scale: got {self.attention_scale}, expected None with "
                    "attention='average', which has no scores"
                )
        self._check_owners()
        SCHEMES[self.relative].check(self)
        check_fraction("attention_dropout", self.attention_dropout)
        check_positive("initializer_range", self.initializer_range)
        super().__post_init__()

    def _check_owners(self) -> None:
        """Refuse an option of relative positions that are not the chosen ones."""
        default = {f.name: f.default for f in fields(AttentionConfig)}
        own = SCHEMES[self.relative].options
        for name in own:
            if name not in default:
                raise InputError(
                    f"relative: got {self.relative!r} with the option {name!r}, expected options "
                    "that are fields of AttentionConfig"
                )
        for owner, scheme in SCHEMES.items():
            for name in set(scheme.options) - set(own):
                value = getattr(self, name)
                if value != default[name]:
                    raise InputError(
                        f"{name}: got {value!r}, expected {default[name]!r} without "
                        f"relative={owner!r}"
                    )

    @property
    def head_size(self) -> int:
        """K = D / H."""
        return self.d_model // self.num_heads

    @property
    def kv_heads(self) -> int:
        """G."""
        return self.num_kv_heads or self.num_heads
