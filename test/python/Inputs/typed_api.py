"""What a type checker says of the public API; `python test/run.py types` reads it, nothing runs it."""

from typing import Any, assert_type

import lutllm

model = lutllm.load("dir")
assert_type(model, lutllm.QuantizedModel)
assert_type(lutllm.check("model"), lutllm.Conversion)
assert_type(lutllm.quantize("model", "dir", bits=3.3), lutllm.Quantized)
assert_type(lutllm.eval(model), lutllm.Evaluation)
assert_type(lutllm.generate(model, "prompt", sampling=lutllm.Sampling(top_k=40, temperature=1.0)), lutllm.Generation)
assert_type(lutllm.estimate(model, "v80").decode_ms, float)
assert_type(lutllm.compile("dir", "out", lutllm.Options(target="tiny")), lutllm.Result)
assert_type(lutllm.compile("dir", "out").records(), list[dict[str, Any]])
lutllm.generate(model, "prompt", token=3)  # type: ignore[call-arg]
