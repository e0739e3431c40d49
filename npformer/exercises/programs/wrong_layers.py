"""Steps of TinyBERT that go wrong in a layer or a projection: mistakes of `tinybert_step`."""

import numpy as np

from npformer.exercises.programs.step_by_hand import exchanged, of_hidden, step, uniform


@exchanged("scores_of")
def teachers_scores_first_of_the_group(m, num_student, num_teacher):
    """the teacher's scores are those of the first layer of each group of N/M, expected the last:
    entry g(m) - 1."""
    return (m - 1) * (num_teacher // num_student) + 1


@exchanged("hidden_of")
def teachers_hidden_one_lower(m, num_student, num_teacher):
    """the teacher's hidden states are one layer too low: their list begins with the embeddings, so
    layer g is entry g."""
    return uniform(m, num_student, num_teacher) - 1


@exchanged("hidden_of", "scores_of")
def bottom_layers(m, num_student, num_teacher):
    """layer m learns from the teacher's layer m: the mapping is uniform, g(m) = m N/M."""
    return m


@exchanged("hidden_of", "scores_of")
def top_layers(m, num_student, num_teacher):
    """the student learns from the teacher's last M layers: the mapping is uniform, g(m) = m N/M."""
    return m + num_teacher - num_student


def layers_averaged(*args):
    """hidden and attention losses are averaged over the layers: they are summed."""
    *losses, dhidden, dscores, dlogits, new_w_e, new_w_h = step(*args)
    m, w_h = len(args[1]), args[8]
    dhidden = np.concatenate([dhidden[:1], dhidden[1:] / m])
    losses = losses[0], losses[1] / m, losses[2] / m, losses[3]
    return *losses, dhidden, dscores / m, dlogits, new_w_e, w_h + (new_w_h - w_h) / m


def one_projection_for_all(*args):
    """w_h projects the embeddings too, like the released code's single `fit_dense`: here they have
    w_e."""
    *outputs, new_w_e, new_w_h = step(*args[:7], args[8], *args[8:])
    w_e, w_h = args[7:9]
    return *outputs, w_e, new_w_h + new_w_e - w_h


def w_h_of_the_last_layer_alone(*args):
    """dw_h is that of the last layer: each layer overwrites it. All layers share w_h, so their
    gradients are added."""
    *outputs, _ = step(*args)
    student_hidden, teacher_hidden, keep, w_h, rate = args[0], args[3], args[6], args[8], args[10]
    *_, dw = of_hidden(student_hidden[-1], teacher_hidden[-1], w_h, keep)
    return *outputs, w_h - rate * dw


def w_h_moved_layer_by_layer(*args):
    """w_h is moved inside the loop, so later layers see another matrix: collect the gradient of all
    layers, then move once."""
    w_h, rate = args[8], args[10]
    moved = [w_h]

    def hidden(h, target, w, keep):
        if w is not w_h:
            return of_hidden(h, target, w, keep)
        loss, dh, dw = of_hidden(h, target, moved[-1], keep)
        moved.append(moved[-1] - rate * dw)
        return loss, dh, dw

    *outputs, _ = step(*args, hidden=hidden)
    return *outputs, moved[-1]


def embeddings_without_a_gradient(*args):
    """dstudent_hidden[0] is zero: the embedding loss has a gradient too."""
    *losses, dhidden, dscores, dlogits, new_w_e, new_w_h = step(*args)
    dhidden[0] = 0
    return *losses, dhidden, dscores, dlogits, new_w_e, new_w_h


def uphill(*args):
    """the projections move along their gradients, uphill: w - rate dw."""
    *outputs, new_w_e, new_w_h = step(*args)
    w_e, w_h = args[7:9]
    return *outputs, 2 * w_e - new_w_e, 2 * w_h - new_w_h


def gradients_returned(*args):
    """the gradients of the projections are returned: the moved projections are asked for, w - rate
    dw."""
    *outputs, new_w_e, new_w_h = step(*args)
    w_e, w_h, rate = args[7], args[8], args[10]
    return *outputs, (w_e - new_w_e) / rate, (w_h - new_w_h) / rate
