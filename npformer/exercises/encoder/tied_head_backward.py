"""The masked-LM head whose matrix is the token table, backward."""

import numpy as np

from npformer import models, ops
from npformer.exercises.exercise import Case, Exercise


def tied_head_backward(dlogits, dembedded, states, ids, table):
    """Return dstates, dtable, db of embedded = table[ids] and logits = states table^T + b.

    dlogits: (B, T, V); dembedded, states: (B, T, D); ids: (B, T), integers; table: (V, D).
    """
    bias = np.zeros(len(table), table.dtype)
    _, head = ops.linear_forward(states, table.T, bias)
    _, lookup = ops.embedding_forward(ids, table)
    dstates, dtable, db = ops.linear_backward(dlogits, head)
    return dstates, dtable.T + ops.embedding_backward(dembedded, lookup), db


def tied_head_backward_cases(rng):
    """Return sentences with repeated and with unused ids."""

    def case(batch, length, d_model, vocab_size, part="", same=False):
        ids = rng.integers(vocab_size, size=(batch, length))
        if same:
            ids[:] = ids[0, 0]
        args = {
            "dlogits": rng.normal(size=(batch, length, vocab_size)),
            "dembedded": rng.normal(size=(batch, length, d_model)),
            "states": rng.normal(size=(batch, length, d_model)),
            "ids": ids,
            "table": rng.normal(size=(vocab_size, d_model)),
        }
        return Case(args, part)

    return [
        case(2, 3, 5, 7),
        case(3, 5, 2, 11),
        case(5, 7, 3, 13),
        case(3, 1, 2, 7, part="one token"),
        case(2, 5, 3, 7, part="repeated ids", same=True),
    ]


def of_head(dlogits, states):
    """Return the table's gradient from its use in the head."""
    vocab_size, d_model = dlogits.shape[-1], states.shape[-1]
    return dlogits.reshape(-1, vocab_size).T @ states.reshape(-1, d_model)


def of_embedding(dembedded, ids, table):
    """Return the table's gradient from its use in the embedding."""
    dtable = np.zeros_like(table)
    np.add.at(dtable, ids, dembedded)
    return dtable


TIED_HEAD_BACKWARD = Exercise(
    id="tied-head-backward",
    title="Tied masked-LM head, backward",
    statement=r"""
        BERT's masked-LM head scores every word by its row of the token table: the same array that
        the embedding looked the words up in.

        $$\mathrm{embedded} = E[\mathrm{ids}], \qquad \mathrm{states} =
        \mathrm{encoder}(\mathrm{embedded}), \qquad \mathrm{logits} = \mathrm{states}\,E^\top + b$$

        The encoder's own backward has been written by somebody else: it turned the gradient of the
        states into `dembedded` (B, T, D). Given also `dlogits` (B, T, V), `states` (B, T, D), the
        integers `ids` (B, T) and the table E, `table` (V, D), return `dstates, dtable, db`:

        - `dstates` (B, T, D): of the states, from the logits (this is what the encoder's backward
          begins with);
        - `dtable` (V, D): of the table, from **both** its uses;
        - `db` (V,): of the bias.

        Ids may occur more than once.""",
    reference=tied_head_backward,
    library=(
        models.MaskedLM.backward,
        models.MaskedLM.head_backward,
        ops.linear_backward,
        ops.embedding_backward,
    ),
    outputs=("dstates", "dtable", "db"),
    cases=tied_head_backward_cases,
    hints=(
        """An array that is used twice gets two gradients, and they are added. Compute each as if
        the other use did not exist.""",
        r"""$dE = dlogits^\top\,states + \text{scatter}$: row v of the scatter is the sum of
        dembedded over all positions whose id is v. $dstates = dlogits\,E$.""",
        """`dtable = dlogits.reshape(-1, V).T @ states.reshape(-1, D)`; then
        `np.add.at(dtable, ids, dembedded)`, since `dtable[ids] += dembedded` counts a repeated id
        once.""",
    ),
    tracks=("interview", "class", "gradcheck"),
    difficulty=2,
    minutes=15,
    terms=lambda dlogits, dembedded, states, ids, table: {
        "dtable": {
            "dlogits^T states (the head)": of_head(dlogits, states),
            "dembedded at ids (the embedding)": of_embedding(dembedded, ids, table),
        }
    },
    factors=lambda dlogits, dembedded, states, ids, table: {
        "B": ids.shape[0],
        "T": ids.shape[1],
        "V": table.shape[0],
        "D": table.shape[1],
    },
    docs="derivations/linear.md",
)


@TIED_HEAD_BACKWARD.mistake("head-alone")
def head_alone(dlogits, dembedded, states, ids, table):
    """dtable comes from the head alone: the embedding looked rows up in the same table, so
    dembedded must be added to the rows of ids."""
    return dlogits @ table, of_head(dlogits, states), dlogits.sum(axis=(0, 1))


@TIED_HEAD_BACKWARD.mistake("embedding-alone")
def embedding_alone(dlogits, dembedded, states, ids, table):
    """dtable comes from the embedding alone: as the head's matrix the table gets dlogits^T states
    as well, in every row."""
    return dlogits @ table, of_embedding(dembedded, ids, table), dlogits.sum(axis=(0, 1))


@TIED_HEAD_BACKWARD.mistake("overwritten")
def overwriting(dlogits, dembedded, states, ids, table):
    """`dtable[ids] = ...` replaces what the head put into these rows: the two gradients must be
    added, for a repeated id all of them (`np.add.at`)."""
    dtable = of_head(dlogits, states)
    dtable[ids] = dembedded
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


@TIED_HEAD_BACKWARD.mistake("repeated-ids-lost")
def losing_repeated_ids(dlogits, dembedded, states, ids, table):
    """`dtable[ids] += ...` writes one position for each id: where an id occurs twice one gradient
    is lost. `np.add.at` adds them all."""
    dtable = of_head(dlogits, states)
    dtable[ids] += dembedded
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


@TIED_HEAD_BACKWARD.mistake("around-the-encoder")
def around_the_encoder(dlogits, dembedded, states, ids, table):
    """dstates is scattered into the table: between the states and the embedding lies the encoder,
    whose backward has made dembedded of it."""
    dstates = dlogits @ table
    dtable = of_head(dlogits, states) + of_embedding(dstates, ids, table)
    return dstates, dtable, dlogits.sum(axis=(0, 1))


@TIED_HEAD_BACKWARD.mistake("embedded-for-states")
def with_embedded_instead_of_states(dlogits, dembedded, states, ids, table):
    """the head's part is made of table[ids]: what was multiplied by the table there are the states,
    after the encoder."""
    dtable = of_head(dlogits, table[ids]) + of_embedding(dembedded, ids, table)
    return dlogits @ table, dtable, dlogits.sum(axis=(0, 1))


@TIED_HEAD_BACKWARD.mistake("dembedded-in-dstates")
def adding_the_embedding_to_the_states(dlogits, dembedded, states, ids, table):
    """dembedded is added to dstates: it belongs to the other end of the encoder. What is used twice
    is the table, not the states."""
    dtable = of_head(dlogits, states) + of_embedding(dembedded, ids, table)
    return dlogits @ table + dembedded, dtable, dlogits.sum(axis=(0, 1))
