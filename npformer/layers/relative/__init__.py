"""Relative positions, one file per scheme; `scheme` says what a scheme may do.

A new one is a file here and a line in `SCHEMES`.
"""

from npformer.layers.relative.alibi import Alibi
from npformer.layers.relative.deberta import Deberta
from npformer.layers.relative.rotary import Rotary
from npformer.layers.relative.scheme import Scheme as Scheme
from npformer.layers.relative.shaw import Shaw
from npformer.layers.relative.t5 import T5

SCHEMES: dict[str, type[Scheme]] = {
    "none": Scheme,
    "rotary": Rotary,
    "alibi": Alibi,
    "shaw": Shaw,
    "t5": T5,
    "deberta": Deberta,
}
