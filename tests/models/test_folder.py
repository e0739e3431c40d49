"""A folder is written as a whole, whatever happens on the way."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from npformer.checks import InputError
from npformer.models.folder import find_folder, settle_folder, write_folder


def fill(text):
    def write(folder):
        (folder / "a.txt").write_text(text)
        (folder / "below").mkdir()
        (folder / "below" / "b.txt").write_text(text)

    return write


def content(folder):
    return (folder / "a.txt").read_text(), (folder / "below" / "b.txt").read_text()


def only(parent, *names):
    assert sorted(p.name for p in parent.iterdir()) == sorted(names)


def test_new_empty_and_again(tmp_path):
    target = tmp_path / "not" / "yet" / "there"
    write_folder(target, fill("1"))
    assert content(target) == ("1", "1")
    write_folder(str(target), fill("2"))
    assert content(target) == ("2", "2")
    only(target.parent, "there")
    empty = tmp_path / "empty"
    empty.mkdir()
    write_folder(empty, fill("3"))
    assert content(empty) == ("3", "3")


def test_a_failing_fill_leaves_the_old_one(tmp_path):
    target = tmp_path / "model"
    write_folder(target, fill("old"))

    def full(folder):
        fill("new")(folder)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(InputError, match=r"model: got No space left on device, expected"):
        write_folder(target, full)
    only(tmp_path, "model")
    assert content(target) == ("old", "old")

    def interrupted(folder):
        fill("new")(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(target, interrupted)
    only(tmp_path, "model")
    assert content(target) == ("old", "old")


def test_what_it_did_not_write_is_not_lost(tmp_path):
    target = tmp_path / "model"
    write_folder(target, fill("old"))
    (target / "notes.md").write_text("mine")
    with pytest.raises(InputError, match=r"got a folder that also holds notes\.md"):
        write_folder(target, fill("new"))
    only(tmp_path, "model")
    only(target, "a.txt", "below", "notes.md")
    assert content(target) == ("old", "old")


def test_a_file_is_no_folder(tmp_path):
    target = tmp_path / "file"
    target.write_text("mine")
    with pytest.raises(InputError, match="file: got a file, expected a folder"):
        write_folder(target, fill("new"))
    with pytest.raises(InputError, match=r"got (Not a directory|File exists)"):
        write_folder(target / "model", fill("new"))
    assert target.read_text() == "mine"
    only(tmp_path, "file")


def test_a_link_is_followed(tmp_path):
    write_folder(tmp_path / "real", fill("1"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "link", fill("2"))
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real") == ("2", "2")


class Killed(BaseException):
    """Stands for a kill: nothing of `write_folder` runs after it."""


@pytest.mark.parametrize("step", range(5))
def test_killed_at_every_step(tmp_path, monkeypatch, step):
    """The steps that change the disk: mkdir, fill, rename, rename, and none."""
    target = tmp_path / "model"
    write_folder(target, fill("old"))
    done = []

    def dying(change):
        def change_or_die(*args, **kwargs):
            if len(done) == step:
                raise Killed
            done.append(change)
            return change(*args, **kwargs)

        return change_or_die

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", dying(Path.mkdir))
        patch.setattr(Path, "rename", dying(Path.rename))
        patch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)
        try:
            write_folder(target, fill("new"))
        except Killed:
            assert step < 4
        else:
            assert step == 4
    # A reader sees a whole folder. mkdir twice (fill makes one too), then the two renames.
    expected = "new" if step >= 3 else "old"
    assert content(find_folder(target)) == (expected, expected)
    settle_folder(target)
    assert content(target) == (expected, expected)
    only(tmp_path, "model")
    write_folder(target, fill("next"))
    assert content(target) == ("next", "next")
    only(tmp_path, "model")
