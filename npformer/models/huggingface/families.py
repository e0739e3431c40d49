"""The families whose folders are read, and the one that a model is written as."""

from npformer.models.config import EncoderConfig
from npformer.models.huggingface.bert import BERT
from npformer.models.huggingface.family import Family

FAMILIES = {family.model_type: family for family in (BERT,)}


def written_family(config: EncoderConfig) -> Family:
    """Return the family whose format holds a model of this configuration."""
    return BERT
