"""The families whose folders are read, and the one that a model is written as."""

from typing import Any

from npformer.models.config import CausalLMConfig, Seq2SeqConfig
from npformer.models.huggingface.albert import ALBERT
from npformer.models.huggingface.bert import BERT
from npformer.models.huggingface.distilbert import DISTILBERT
from npformer.models.huggingface.family import Family
from npformer.models.huggingface.gpt2 import GPT2
from npformer.models.huggingface.marian import MARIAN
from npformer.models.huggingface.roberta import ROBERTA
from npformer.models.huggingface.t5 import T5

FAMILIES = {
    family.model_type: family for family in (BERT, DISTILBERT, ROBERTA, ALBERT, GPT2, MARIAN, T5)
}


def written_family(config: Any) -> Family:
    """Return the family whose format may hold a model; writing refuses what it cannot say.

    What is read from RoBERTa is, to the last bit, a BERT with one segment.
    """
    if isinstance(config, CausalLMConfig):
        return GPT2
    if isinstance(config, Seq2SeqConfig):
        return T5 if config.relative == "t5" else MARIAN
    if config.embedding_size is not None:
        return ALBERT
    return BERT if config.num_segments else DISTILBERT
