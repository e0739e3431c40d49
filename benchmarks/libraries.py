"""The libraries that compete, and what each needs."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

OURS = "npformer"


@dataclass(frozen=True)
class Library:
    """A library and the module of `benchmarks.contenders` that drives it.

    ``modes`` and ``sizes`` say where it takes part; no sizes means all.
    """

    module: str
    modes: tuple[str, ...]
    requires: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()
    numpy: bool = False  # its matrix products are NumPy's, so kernels matter
    dropout: bool = True


LIBRARIES = {
    OURS: Library("ours", ("train", "distill", "infer", "peak"), numpy=True),
    "torch": Library("torch_steps", ("train", "distill", "infer", "peak"), ("torch",)),
    "transformers": Library("transformers_steps", ("train", "infer"), ("torch", "transformers")),
    "onnxruntime": Library("onnxruntime_steps", ("infer",), ("onnxruntime", "onnx", "torch")),
    "autograd": Library(
        "autograd_steps",
        ("train",),
        ("autograd", "scipy"),
        sizes=("micro", "tinybert4"),
        numpy=True,
        dropout=False,
    ),
}
PEERS = tuple(name for name in LIBRARIES if name != OURS)

KERNELS = {"native": None, "haswell": "Haswell"}  # what OPENBLAS_CORETYPE is set to


@dataclass(frozen=True)
class Contender:
    """A library, with the kernels of its matrix products where they can be chosen.

    ``without`` names the technique of `benchmarks.ablation` that npformer does without;
    ``checkout`` is the folder of another commit of it, from `benchmarks.against`.
    """

    library: str
    kernel: str | None = None
    without: str | None = None
    checkout: Path | None = None

    @property
    def label(self) -> str:
        """What tables call it."""
        name = self.library if self.checkout is None else self.checkout.name
        label = name if self.kernel is None else f"{name} {self.kernel}"
        return label if self.without is None else f"{label} without {self.without}"


def missing_packages(library: str) -> list[str]:
    """Return what would have to be installed first; nothing is imported."""
    return [name for name in LIBRARIES[library].requires if find_spec(name) is None]


def contenders_for(
    mode: str, size: str, dropout: float, peers: Sequence[str], kernels: Sequence[str]
) -> list[Contender]:
    """Return who takes part in a case, npformer first."""
    found = []
    for name in [OURS, *peers]:
        library = LIBRARIES[name]
        if mode not in library.modes or (library.sizes and size not in library.sizes):
            continue
        if dropout and not library.dropout:
            continue
        found += [Contender(name, k) for k in kernels] if library.numpy else [Contender(name)]
    return found
