"""A download by huggingface_hub, from a server of this test that speaks the hub's protocol."""

import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest
from models.small import make

from npformer.models import from_pretrained, save_pretrained

pytest.importorskip("huggingface_hub")

COMMIT = "0123456789" * 4
REPO = "org/tiny"


@pytest.fixture
def hub(tmp_path):
    """Serve one model with a pickle beside its weights; note what is fetched."""
    folder = tmp_path / "served"
    save_pretrained(make("encoder", dtype=np.float32), folder)
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    fetched = []

    class Hub(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def answer(self, data, **headers):
            self.send_response(200)
            for name, value in {"Content-Length": len(data), **headers}.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def do_GET(self):
            path = self.path.partition("?")[0]
            api, file = f"/api/models/{REPO}/", f"/{REPO}/resolve/"
            if path.startswith(f"{api}revision/"):
                siblings = [{"rfilename": name} for name in files]
                told = {"id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}
                self.answer(json.dumps(told).encode())
            elif path.startswith(f"{api}tree/"):
                told = [
                    {"type": "file", "path": name, "size": len(data), "oid": oid(data)}
                    for name, data in files.items()
                ]
                self.answer(json.dumps(told).encode())
            elif path.startswith(file):
                name = path.rpartition("/")[2]
                data = files[name]
                if self.command == "GET":
                    fetched.append(name)
                self.answer(data, ETag=f'"{oid(data)}"', X_Repo_Commit=COMMIT)
            else:
                self.send_error(404)

        do_HEAD = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = Thread(target=server.serve_forever)
    thread.start()
    server.fetched, server.files = fetched, files
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def oid(data):
    return hashlib.sha1(data).hexdigest()


def found(home, hub, name=REPO):
    """Ask in a process of its own: huggingface_hub reads its settings when it is imported."""
    settings = re.compile("HF_|HUGGING|TRANSFORMERS_|(https?|all)_proxy", re.IGNORECASE)
    env = {name: value for name, value in os.environ.items() if not settings.match(name)}
    env |= {"HF_HOME": str(home), "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}"}
    code = "from npformer.models import find_model; import sys; print(find_model(sys.argv[1]))"
    return subprocess.run(
        [sys.executable, "-c", code, name], capture_output=True, text=True, env=env, timeout=300
    )


def test_a_model_is_downloaded_once(hub, tmp_path):
    for _ in range(2):
        done = found(tmp_path / "home", hub)
        assert done.returncode == 0, done.stderr
        model = from_pretrained(done.stdout.strip())
    for name, array in make("encoder", dtype=np.float32).params.items():
        np.testing.assert_array_equal(model.params[name], array)
    assert sorted(hub.fetched) == ["config.json", "model.safetensors"]  # and no pickle


def test_a_model_that_is_not_there(hub, tmp_path):
    done = found(tmp_path / "home", hub, "org/other")
    assert done.returncode == 1
    assert (
        "org/other: got no such folder, expected one, minilm or a hub name that is" in done.stderr
    )
    assert not hub.fetched
