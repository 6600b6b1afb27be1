"""A model file served by llama.cpp on loopback: `python -m ibid.chat.llama_server FILE CONTEXT THREADS`.

A child of `local`. The key comes over the standard input; when that is closed, whoever wanted the model is gone, and so
are we. The address goes to the standard output.
"""

import sys
from collections.abc import Sequence
from importlib import import_module


def main(arguments: Sequence[str]) -> int:
    """Serve until the parent is gone."""
    file, context, threads = arguments
    xllamacpp = import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = file
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    parameters.api_keys = [sys.stdin.readline().strip()]
    parameters.n_ctx = int(context)
    parameters.n_parallel = 1
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(threads)
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
