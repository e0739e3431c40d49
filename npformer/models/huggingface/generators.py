"""The families of models that generate, and the one that a model is written as."""

from npformer.models.causal_lm import CausalLM
from npformer.models.huggingface.generator import Generating, GeneratorFamily
from npformer.models.huggingface.gpt2 import GPT2
from npformer.models.huggingface.marian import MARIAN
from npformer.models.huggingface.t5 import T5

GENERATORS = {family.model_type: family for family in (GPT2, MARIAN, T5)}


def written_generator(model: Generating) -> GeneratorFamily:
    """Return the family whose format may hold a model; `write_generator` refuses what it cannot."""
    if isinstance(model, CausalLM):
        return GPT2
    return T5 if model.config.relative == "t5" else MARIAN
