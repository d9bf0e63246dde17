"""`lutllm serve`: a quantized model for clients of OpenAI's API."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments

LOOPBACK = ("127.0.0.1", "::1", "localhost")
KEY = "LUTLLM_API_KEY"  # environment variable


def serve_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=arguments.QUANTIZED_HELP)
    parser.add_argument("--host", default=LOOPBACK[0], help="address to listen at (default 127.0.0.1: this machine)")
    parser.add_argument("--port", type=arguments.positive, default=8080, metavar="N", help="default 8080")
    parser.add_argument("--api-key", metavar="KEY", help=f"clients must give it; also {KEY} in the environment")
    parser.add_argument("--name", help="what clients call the model (default: as MODEL is called)")
    parser.add_argument("--parallel", type=arguments.positive, default=4, metavar="N", help="answers at a time (4)")
    parser.add_argument("--queue", type=arguments.count, default=64, metavar="N", help="requests that may wait (64)")
    parser.add_argument("--time-limit", type=arguments.positive, default=600, metavar="S", help="of an answer (600 s)")
    arguments.context_argument(parser, "tokens kept for each")
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="default: all cores")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors")
    arguments.float_model_arguments(parser)


def serve(options: argparse.Namespace) -> tuple[int, Any]:
    try:
        import uvicorn

        from lutllm.serve.app import Limits, application
    except ImportError as missing:
        raise InputError(
            f"expected Starlette and uvicorn, got no {missing.name}; install them: pip install 'lutllm[serve]'"
        ) from None
    from lutllm.run.session import open_session
    from lutllm.serve.engine import Engine

    key = options.api_key or os.environ.get(KEY, "")
    if options.host not in LOOPBACK and not key:
        raise InputError(
            f"expected an API key to listen at {options.host}, which others may reach, got none; give --api-key"
        )
    model = arguments.model_of(options)
    if model.tokenizer is None:
        raise InputError("expected a model with a tokenizer, got none; add tokenizer.json to its directory")
    name = options.name or Path(options.model).name
    session = open_session(model, model.room(options.context), threads=options.threads)
    engine = Engine(model, session, parallel=options.parallel, waiting=options.queue)
    app = application(engine, name, key=key, limits=Limits(seconds=options.time_limit))
    config = uvicorn.Config(
        app, options.host, options.port, log_level="error" if options.quiet else "warning", timeout_graceful_shutdown=1
    )
    if not options.quiet:
        print(f"model '{name}' at http://{options.host}:{options.port}/v1; Ctrl-C ends it", file=sys.stderr)
    try:
        uvicorn.Server(config).run()
    finally:
        engine.close()
    return 0, None
