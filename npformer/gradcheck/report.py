"""What a check hands back when it passes, and what it raises when it does not."""

from collections.abc import Mapping
from typing import NamedTuple


class GradientReport(NamedTuple):
    """A check that passed.

    Attributes
    ----------
    name : str
        What was checked: the forward function's name, the class of the model, or the name given.
    kind : str
        ``"pair"`` or ``"model"``.
    error : float
        The worst of ``errors``.
    tolerance : float
        The bound that every error had to stay below.
    errors : Mapping of str to float
        One error for each array: ``max|a - n| / max(max|a|, max|n|)``; 0.0 for the arrays
        declared zero.
    """

    name: str
    kind: str
    error: float
    tolerance: float
    errors: Mapping[str, float]

    @property
    def ok(self) -> bool:
        """Always true: a check that fails raises `GradientError`, whose ``ok`` is false."""
        return True


class GradientError(Exception):
    """A gradient is wrong; ``str()`` is one paragraph that says where and how.

    Attributes
    ----------
    subject : str
        What was checked, `GradientReport.name`.
    kind : str
        ``"pair"`` or ``"model"``.
    name : str
        The argument or parameter whose gradient is wrong.
    index : tuple of int or None
        The entry that is furthest off; None where the whole array is at fault (its shape, say)
        or where only directions were compared.
    analytic, numeric : float
        The two values at that entry (or along that direction); NaN where there is none.
    error : float
        ``max|a - n| / max(max|a|, max|n|)``, infinite where nothing can be compared.
    tolerance : float
        The bound it had to stay below.
    diagnosis : str
        The mistake that it looks like, e.g. ``"sign: analytic = -numeric"``.
    ok : bool
        Always false.
    """

    ok = False

    def __init__(
        self,
        subject: str,
        kind: str,
        name: str,
        diagnosis: str,
        *,
        tolerance: float,
        index: tuple[int, ...] | None = None,
        analytic: float = float("nan"),
        numeric: float = float("nan"),
        error: float = float("inf"),
        where: str = "",
    ) -> None:
        self.subject, self.kind, self.name, self.diagnosis = subject, kind, name, diagnosis
        self.index, self.analytic, self.numeric = index, analytic, numeric
        self.error, self.tolerance = error, tolerance
        place = "" if index is None else f" at [{', '.join(map(str, index))}]"
        values = ""
        if error != float("inf"):
            values = (
                f" analytic {analytic:.9g}, numeric {numeric:.9g}, "
                f"error {error:.1e} (at most {tolerance:.0e})."
            )
        super().__init__(
            f"{subject}: the gradient of {name} is wrong{place}{where}.{values} {diagnosis}."
        )
