"""The referee: a hand-written backward against finite differences of its forward.

`check_pair` judges a pair of functions, `check_model` anything that holds ``params``. Both
return a `GradientReport` and raise a `GradientError` that says where the gradient is wrong
and which mistake it looks like. Nothing is printed.
"""

from npformer.gradcheck.model import check_model as check_model
from npformer.gradcheck.numeric import numeric_gradient as numeric_gradient
from npformer.gradcheck.pair import check_pair as check_pair
from npformer.gradcheck.report import GradientError as GradientError
from npformer.gradcheck.report import GradientReport as GradientReport
