"""The families whose folders are read, and the one that a model is written as."""

from npformer.models.config import EncoderConfig
from npformer.models.huggingface.albert import ALBERT
from npformer.models.huggingface.bert import BERT
from npformer.models.huggingface.distilbert import DISTILBERT
from npformer.models.huggingface.family import Family
from npformer.models.huggingface.roberta import ROBERTA

FAMILIES = {family.model_type: family for family in (BERT, DISTILBERT, ROBERTA, ALBERT)}


def written_family(config: EncoderConfig) -> Family:
    """Return the family whose format holds a model of this configuration.

    What is read from RoBERTa is, to the last bit, a BERT with one segment.
    """
    if config.embedding_size is not None:
        return ALBERT
    return BERT if config.num_segments else DISTILBERT
