"""The layouts of a whole decoder: its shapes and the accelerator in, a layout for every tensor between engines out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lutllm.decoder import Layer
from lutllm.errors import CapacityError
from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.layout.channels import (
    Layout,
    check_pairs,
    heads_layout,
    logits_layout,
    one_head,
    outputs_layout,
)


@dataclass(frozen=True)
class DecoderLayout:
    """`residual`: of the residual stream; `inputs` and `outputs` by linear. `head` and `value_head`: of one query or
    key, and of one value."""

    residual: Layout
    head: np.ndarray
    value_head: np.ndarray
    inputs: dict[str, Layout]
    outputs: dict[str, Layout]


def layout_decoder(spec: DecoderSpec, config: AcceleratorConfig) -> DecoderLayout:
    """Raises `CapacityError` naming the linear whose blocks do not allow what hardware needs."""
    d = spec.decoder
    head_dim = d.layers[0].attention.head_dim
    head, value_head = (one_head(head_dim, config.head_lanes, interleaved=turned) for turned in (True, False))
    first = d.layers[0].attention.output
    residual = _outputs(spec, config, first)
    found = DecoderLayout(residual, head, value_head, {}, {})
    for layer in d.layers:
        _layer(spec, config, layer, found)
    found.inputs[d.head] = check_pairs(d.head, residual)
    found.outputs[d.head] = logits_layout(d.head, d.vocabulary, spec.linears[d.head].scheme.G, config.engine.lanes)
    return found


def _layer(spec: DecoderSpec, config: AcceleratorConfig, layer: Layer, found: DecoderLayout) -> None:
    a, outputs, inputs = layer.attention, found.outputs, found.inputs
    if a.head_dim != spec.decoder.layers[0].attention.head_dim:
        raise CapacityError(f"{a.name}: expected heads of one size in all layers, got {a.head_dim} channels here")
    for name, head in ((a.query, found.head), (a.key, found.head), (a.value, found.value_head)):
        outputs[name] = _outputs(spec, config, name, head)
    for name in (layer.gate, layer.up, a.output, layer.down):
        outputs[name] = _outputs(spec, config, name)
    for name, other, wanted in (
        (a.output, spec.decoder.layers[0].attention.output, found.residual),
        (layer.down, spec.decoder.layers[0].attention.output, found.residual),
        (layer.up, layer.gate, outputs[layer.gate]),
    ):
        if not outputs[name].same(wanted):
            raise CapacityError(
                f"{name}: expected outputs laid out like those of {other}, got blocks of {spec.linears[name].scheme.G} "
                f"and {spec.linears[other].scheme.G}; quantize both with blocks of a multiple of "
                f"{config.engine.lanes} outputs, or of one size"
            )
    for name in (a.query, a.key, a.value, layer.gate, layer.up):
        inputs[name] = check_pairs(name, found.residual)
    inputs[a.output] = check_pairs(a.output, heads_layout(a.heads, found.value_head))
    inputs[layer.down] = check_pairs(layer.down, outputs[layer.gate])


def _outputs(spec: DecoderSpec, config: AcceleratorConfig, name: str, head: np.ndarray | None = None) -> Layout:
    linear = spec.linears[name]
    return outputs_layout(name, linear.outputs, linear.scheme.G, config.engine.lanes, head)
