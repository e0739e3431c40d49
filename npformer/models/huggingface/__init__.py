"""Reading and writing folders as Hugging Face's transformers has them.

config.json speaks of the sizes, model.safetensors holds the arrays, and one table per family of
models (`npformer.models.huggingface.bert`, ...) says what they are called there.
"""

from npformer.models.huggingface.config import classifier_config
from npformer.models.huggingface.find import find_model
from npformer.models.huggingface.pretrained import (
    from_pretrained,
    load_labels,
    read_pooler,
    read_projections,
    save_pretrained,
    write_model,
)

__all__ = [
    "classifier_config",
    "find_model",
    "from_pretrained",
    "load_labels",
    "read_pooler",
    "read_projections",
    "save_pretrained",
    "write_model",
]
