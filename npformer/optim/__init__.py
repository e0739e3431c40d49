"""Optimizers: what turns gradients into better parameters."""

from npformer.optim.adam import Adam as Adam
from npformer.optim.adam import AdamW as AdamW
from npformer.optim.adam import BertAdam as BertAdam
from npformer.optim.clip import clip_by_global_norm as clip_by_global_norm
from npformer.optim.clip import clip_by_tensor_norm as clip_by_tensor_norm
from npformer.optim.clip import global_norm as global_norm
from npformer.optim.optimizer import Optimizer as Optimizer
from npformer.optim.optimizer import OptimizerState as OptimizerState
from npformer.optim.optimizer import decays as decays
from npformer.optim.schedules import constant_schedule as constant_schedule
from npformer.optim.schedules import cosine_schedule as cosine_schedule
from npformer.optim.schedules import linear_schedule as linear_schedule
from npformer.optim.schedules import noam_schedule as noam_schedule
from npformer.optim.sgd import Sgd as Sgd
