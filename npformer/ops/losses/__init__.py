"""Losses, one file per family; each says in its first line what it is the mean over."""

from npformer.ops.losses.cosine import CosineCache as CosineCache
from npformer.ops.losses.cosine import cosine_backward as cosine_backward
from npformer.ops.losses.cosine import cosine_forward as cosine_forward
from npformer.ops.losses.cross_entropy import CrossEntropyCache as CrossEntropyCache
from npformer.ops.losses.cross_entropy import cross_entropy_backward as cross_entropy_backward
from npformer.ops.losses.cross_entropy import cross_entropy_forward as cross_entropy_forward
from npformer.ops.losses.distillation import SoftTargetCache as SoftTargetCache
from npformer.ops.losses.distillation import kl_backward as kl_backward
from npformer.ops.losses.distillation import kl_forward as kl_forward
from npformer.ops.losses.distillation import (
    soft_cross_entropy_backward as soft_cross_entropy_backward,
)
from npformer.ops.losses.distillation import (
    soft_cross_entropy_forward as soft_cross_entropy_forward,
)
from npformer.ops.losses.mse import MseCache as MseCache
from npformer.ops.losses.mse import mse_backward as mse_backward
from npformer.ops.losses.mse import mse_forward as mse_forward
from npformer.ops.losses.patient import PatientCache as PatientCache
from npformer.ops.losses.patient import patient_backward as patient_backward
from npformer.ops.losses.patient import patient_forward as patient_forward
from npformer.ops.losses.relations import AttentionKlCache as AttentionKlCache
from npformer.ops.losses.relations import ValueRelationCache as ValueRelationCache
from npformer.ops.losses.relations import attention_kl_backward as attention_kl_backward
from npformer.ops.losses.relations import attention_kl_forward as attention_kl_forward
from npformer.ops.losses.relations import value_relation_backward as value_relation_backward
from npformer.ops.losses.relations import value_relation_forward as value_relation_forward
