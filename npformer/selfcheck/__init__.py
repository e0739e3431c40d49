"""What ``npformer gradcheck`` checks; the tests run the same cases.

Every axis has a size of its own, and nothing stands where a mistake would not show: no 0, no 1,
a mask with a row that may attend to nothing, ids that repeat, biases that broadcast, padding and
dropout on.
"""

from npformer.selfcheck.case import SIZES as SIZES
from npformer.selfcheck.case import ModelCase as ModelCase
from npformer.selfcheck.case import PairCase as PairCase
from npformer.selfcheck.models import model_cases as model_cases
from npformer.selfcheck.pairs import pair_cases as pair_cases
from npformer.selfcheck.terms import distill_cases as distill_cases
