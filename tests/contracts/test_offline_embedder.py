"""Loading the bundled embedder in a fresh process: no connection, no output, and scikit-learn as it was."""

import json
import subprocess
import sys

from tests.running import PATIENCE

PROGRAM = """
import json, sys, warnings
connections = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        connections.append(repr(arguments))
sys.addaudithook(watch)

from ibid.embedding.registry import load_embedder
from ibid.settings import Settings

embedder = load_embedder("all-MiniLM-L6-v2", Settings())
embedder.encode(["a text", "another, longer text"])
embedder.encode_query("a question")
embedder.count_tokens(["many words " * 1000])
without = sorted({"sklearn", "pandas", "datasets", "torchvision"} & sys.modules.keys())
import os
if os.fork() == 0:
    embedder.count_tokens(["the tokenizer after a fork; encoding needs torch's threads, which a fork does not copy"])
    os._exit(0)
os.wait()
from sklearn.metrics import pairwise_distances
from sentence_transformers.util.similarity import pairwise_distances as theirs
same = pairwise_distances([[0.0], [3.0]]).tolist() == theirs([[0.0], [3.0]]).tolist() == [[0.0, 3.0], [3.0, 0.0]]
print(json.dumps({"connections": connections, "not needed": without, "sklearn works": same}))
"""


def test_bundled_embedder_needs_no_network_and_is_quiet():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"connections": [], "not needed": [], "sklearn works": True}
