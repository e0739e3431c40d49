"""npformer: Transformers and their distillation in NumPy, every gradient written by hand.

The tree is the table of contents of a course:

* Part I, `npformer.ops`, the calculus: pure function pairs, ``x_forward`` and ``x_backward``;
* Part II, `npformer.layers`, parameters and composition;
* Part III, `npformer.models`, encoders, decoders and their heads;
* Part IV, `npformer.train`, the loop and what it needs;
* Part V, `npformer.distill`, TinyBERT;
* Part VI, `npformer.jobs`, what is run;
* Part VII, `npformer.exercises`, to learn by doing;
* Part VIII, `npformer.cli`, the command line.

Beside them: `npformer.gradcheck`, the referee, `npformer.selfcheck`, what it is shown,
`npformer.optim` and `npformer.data`.
"""

from npformer import gradcheck as gradcheck
from npformer import layers as layers
from npformer import models as models
from npformer import ops as ops
from npformer import optim as optim
from npformer.checks import InputError as InputError
from npformer.gradcheck import GradientError as GradientError
from npformer.gradcheck import check_model as check_model
from npformer.gradcheck import check_pair as check_pair
from npformer.gradcheck import numeric_gradient as numeric_gradient
from npformer.layers import AttentionConfig as AttentionConfig
from npformer.layers import AttentionOutput as AttentionOutput
from npformer.layers import BlockConfig as BlockConfig
from npformer.layers import DecoderBlock as DecoderBlock
from npformer.layers import Embeddings as Embeddings
from npformer.layers import EmbeddingsConfig as EmbeddingsConfig
from npformer.layers import EncoderBlock as EncoderBlock
from npformer.layers import FeedForward as FeedForward
from npformer.layers import FeedForwardConfig as FeedForwardConfig
from npformer.layers import MultiHeadAttention as MultiHeadAttention
from npformer.models import CausalLM as CausalLM
from npformer.models import CausalLMConfig as CausalLMConfig
from npformer.models import ClassifierConfig as ClassifierConfig
from npformer.models import Encoder as Encoder
from npformer.models import EncoderConfig as EncoderConfig
from npformer.models import MaskedLM as MaskedLM
from npformer.models import ModelOutput as ModelOutput
from npformer.models import Seq2Seq as Seq2Seq
from npformer.models import Seq2SeqConfig as Seq2SeqConfig
from npformer.models import SequenceClassifier as SequenceClassifier
from npformer.models import TokenClassifier as TokenClassifier
from npformer.models import preset as preset
from npformer.optim import Adam as Adam
from npformer.optim import AdamW as AdamW
from npformer.optim import BertAdam as BertAdam
from npformer.optim import Sgd as Sgd

__version__ = "0.1.0"
