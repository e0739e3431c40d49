"""Reading and writing folders as Hugging Face's transformers has them.

config.json speaks of the sizes, model.safetensors holds the arrays, and one table per family of
models (`npformer.models.huggingface.bert`, ...) says what they are called there.
"""

from npformer.models.huggingface.beside import load_labels as load_labels
from npformer.models.huggingface.beside import read_pooler as read_pooler
from npformer.models.huggingface.beside import read_projections as read_projections
from npformer.models.huggingface.find import find_model as find_model
from npformer.models.huggingface.pretrained import from_pretrained as from_pretrained
from npformer.models.huggingface.pretrained import save_pretrained as save_pretrained
from npformer.models.huggingface.pretrained import write_model as write_model
