"""The encoder of BERT: a stack in which every token sees every other."""

from npformer.layers.embeddings import Embeddings
from npformer.layers.stack import Stack
from npformer.models.config import EncoderConfig


class Encoder(Stack):
    """A BERT encoder: `Embeddings` with segments, then blocks; `Stack` says it all.

    Parameters
    ----------
    config : EncoderConfig
    params : dict
        ``embeddings.*``, ``layers.0.*`` ... ``layers.{L-1}.*``, with ``norm_first`` also
        ``norm.*``, and what relative positions have once for all layers.

    References
    ----------
    Devlin et al. 2019, "BERT", section 3.
    """

    config: EncoderConfig

    embeddings = Embeddings
