"""Folders of tables: what is read, and what is refused with which words."""

import gzip

import numpy as np
import pytest

from npformer.checks import InputError
from npformer.data.glue import load_folder, read_texts, take_labelled
from npformer.data.naive_bayes import naive_bayes_accuracy

HEADER = "sentence\tlabel\n"
GOOD = HEADER + "a good one\t1\na bad one\t0\n"


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes files into a folder and returns it."""

    def write(**files):
        for name, content in {"train_tsv": GOOD, "dev_tsv": GOOD, **files}.items():
            path = tmp_path / name.replace("_", ".")
            if content is None:
                continue
            data = content.encode() if isinstance(content, str) else content
            path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
        return tmp_path

    return write


def test_single_sentences(folder):
    text = HEADER + "\"quoted ' and , kept  \t1\r\n 好的。\t0\r\n"
    task = load_folder(folder(train_tsv=text))
    assert task.train.first == ["\"quoted ' and , kept", "好的。"]
    assert task.train.second is None
    assert task.train.labels.tolist() == [1, 0]
    assert task.train.labels.dtype == np.int64
    assert task.label_names == ("0", "1")
    assert (task.kind, task.test, task.unlabelled) == ("classification", None, [])
    assert len(task.dev) == 2


def test_pairs_string_labels_gz_test_and_unlabelled(folder):
    table = "first\tsecond\tlabel\np\tq\tno\nr\ts\tentails\n"
    task = load_folder(
        folder(
            train_tsv=None,
            train_tsv_gz=table,
            dev_tsv=table,
            test_tsv=table,
            unlabelled_txt_gz="one\n\n two \n",
        )
    )
    assert task.label_names == ("entails", "no")
    assert task.test.labels.tolist() == [1, 0]
    assert task.train.second == ["q", "s"]
    assert task.unlabelled == ["one", "two"]


def test_whole_number_classes_are_in_the_order_of_the_numbers(folder):
    table = HEADER + "a\t10\nb\t9\nc\t-1\n"
    assert load_folder(folder(train_tsv=table, dev_tsv=table)).label_names == ("-1", "9", "10")


@pytest.mark.parametrize("header", ["sentence\tlabel\n", "sentence\tscore\n"])
def test_scores(folder, header):
    table = header + ("a\t1.5\nb\t2\n" if "label" in header else "a\t1\nb\t2\n")
    task = load_folder(folder(train_tsv=table, dev_tsv=table))
    assert task.kind == "regression"
    assert task.label_names == ()
    assert task.train.labels.dtype == np.float64
    assert task.train.labels[1] == 2.0


BAD = {
    "missing file": ({"train_tsv": None}, "train.tsv is missing"),
    "missing dev": ({"dev_tsv": None}, "dev.tsv is missing"),
    "both files": ({"train_tsv_gz": GOOD}, "got both train.tsv and train.tsv.gz"),
    "empty file": ({"train_tsv": ""}, "train.tsv: got an empty file"),
    "blank file": ({"dev_tsv": "\n \n"}, "dev.tsv: got an empty file"),
    "header alone": ({"train_tsv": HEADER}, "got a header and no example"),
    "one column": ({"train_tsv": "sentence\na\n"}, "train.tsv, line 1: got header"),
    "four columns": ({"train_tsv": "a\tb\tc\td\n1\t2\t3\t4\n"}, "line 1: got header"),
    "no header": ({"train_tsv": "a good one\t1\nbad\t0\n"}, "line 1: got header"),
    "other header": ({"dev_tsv": "text\tlabel\na\t1\n"}, "dev.tsv, line 1: got header"),
    "missing tab": ({"train_tsv": GOOD + "no tab 1\n"}, "train.tsv, line 4: got 0 tabs"),
    "blank line": ({"train_tsv": HEADER + "\na\t1\n"}, "train.tsv, line 2: got 0 tabs"),
    "extra tab": ({"dev_tsv": GOOD + "a\tb\t1\n"}, "dev.tsv, line 4: got 2 tabs"),
    "label missing": ({"train_tsv": GOOD + "text\t \n"}, "line 4: label is empty"),
    "text missing": ({"train_tsv": GOOD + " \t1\n"}, "line 4: sentence is empty"),
    "one class": ({"train_tsv": HEADER + "a\t1\nb\t1\n"}, "got the one label '1'"),
    "unseen label": ({"dev_tsv": HEADER + "a\t0\nb\t2\n"}, "dev.tsv, line 3: got label '2'"),
    "not UTF-8": ({"train_tsv": GOOD.encode() + b"caf\xe9\t1\n"}, "line 4: got byte 0xe9"),
    "bad score": (
        {"train_tsv": "a\tscore\nx\t1\ny\tnan\n", "dev_tsv": "a\tscore\nx\t1\n"},
        "line 3",
    ),
}


@pytest.mark.parametrize(("files", "message"), BAD.values(), ids=BAD)
def test_bad_tables_are_refused_in_one_line(folder, files, message):
    with pytest.raises(InputError) as caught:
        load_folder(folder(**files))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_or_no_file(folder, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match="got a file"):
        load_folder(folder() / "train.tsv")
    (tmp_path / "test.tsv").mkdir()
    with pytest.raises(InputError, match=r"test\.tsv: got a folder"):
        load_folder(tmp_path)


def test_a_damaged_gz_is_refused(folder, tmp_path):
    path = folder(train_tsv=None)
    whole = gzip.compress(GOOD.encode())
    for data in (b"no gzip at all", whole[:-9], whole[:12] + b"\xff\xff" + whole[14:]):
        (tmp_path / "train.tsv.gz").write_bytes(data)
        with pytest.raises(InputError, match=r"train\.tsv\.gz: cannot be read"):
            load_folder(path)


def test_plain_text_of_files(tmp_path):
    (tmp_path / "a.txt").write_text(" one \n\n two\tthree\n  \nfour", "utf-8")
    assert read_texts(tmp_path / "a.txt") == ["one", "two\tthree", "four"]
    packed = gzip.compress(b"first\tsecond\tlabel\np\tq\tno\nr\ts\tyes\n")
    (tmp_path / "b.tsv.gz").write_bytes(packed)
    assert read_texts(str(tmp_path / "b.tsv.gz")) == ["p", "q", "r", "s"]
    (tmp_path / "c.csv").write_text("x")
    for name, said in (
        ("c.csv", "got a name in '.csv', expected .txt or .tsv"),
        ("d.txt", "no such file"),
    ):
        with pytest.raises(InputError, match=said):
            read_texts(tmp_path / name)


def test_some_of_the_labelled_examples(folder):
    rows = [f"text {i}\tmore {i}\t{i % 3}" for i in range(30)]
    task = load_folder(
        folder(train_tsv="\n".join(["a\tb\tlabel", *rows]), dev_tsv="a\tb\tlabel\np\tq\t1\n")
    )
    assert take_labelled(task, None, 0) is task
    one, same, other = (take_labelled(task, 7, seed) for seed in (4, 4, 5))
    assert one.train.first == same.train.first != other.train.first
    # Of each example chosen all that belongs to it, in the order of the file.
    numbers = [int(text.split()[1]) for text in one.train.first]
    assert len(numbers) == 7
    assert numbers == sorted(numbers)
    assert one.train.second == [f"more {i}" for i in numbers]
    assert one.train.labels.tolist() == [i % 3 for i in numbers]
    assert len(one.unlabelled) == 60
    with pytest.raises(InputError, match="labelled: got 31, expected at most the 30 examples"):
        take_labelled(task, 31, 0)
    with pytest.raises(InputError, match="labelled: got 1 with one label"):
        take_labelled(task, 1, 0)


def test_naive_bayes_by_hand():
    texts, labels = ["good good fun", "bad", "Bad, fun!"], np.array([1, 0, 0])
    # P(good | 1) = 3/6 against 1/6; the words training never saw do not count.
    assert naive_bayes_accuracy(texts, labels, ["GOOD unseen"], np.array([1])) == 1.0
    assert naive_bayes_accuracy(texts, labels, ["unseen"], np.array([0])) == 1.0  # the prior
    # fun: (1+1)/6 * 1/3 for class 1, (1+1)/6 * 2/3 for class 0.
    assert naive_bayes_accuracy(texts, labels, ["fun"], np.array([1])) == 0.0


def test_naive_bayes_of_order_two_sees_pairs_and_chinese_characters():
    texts, labels = ["not good", "good not", "不好", "好不"], np.array([0, 1, 0, 1])
    for order, expected in ((1, 0.5), (2, 1.0)):
        found = naive_bayes_accuracy(texts, labels, texts, labels, order=order)
        assert found == expected


def test_naive_bayes_never_names_a_class_it_has_not_seen():
    texts = ["a", "b"]
    assert naive_bayes_accuracy(texts, np.array([0, 2]), ["c"] * 2, np.array([1, 1])) == 0.0
    with pytest.raises(InputError, match="texts: got an empty split"):
        naive_bayes_accuracy([], np.array([], dtype=int), ["a"], np.array([0]))
