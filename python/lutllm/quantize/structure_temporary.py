"""Temporary: the old template to the float level, until torch-raise does it by op."""

from lutllm import dialect
from lutllm.quantize.float_models import _Builder, _module


def float_of(d):
    class B(_Builder):
        def norm_(self, x, norm):
            self.epsilon = norm.epsilon
            return self.norm(x, norm.name, norm.groups)

    def body(b, ids, position):
        b.__class__ = B
        x = b.embedding(ids, d.embedding, d.vocabulary, d.hidden)
        for layer in d.layers:
            a = layer.attention
            n = b.norm_(x, layer.input_norm)

            def rotated(name, norm, heads, n=n, a=a):
                y = b.linear(n, name, heads * a.head_dim)
                if norm:
                    y = b.norm_(y, norm)
                f = b.parameter("model.rotary_emb.inv_freq", a.head_dim // 2)
                return dialect.float_rope(
                    y, position, name=f"{name}.rope", frequencies=f, heads=heads, scale=d.rope_scale
                )

            q, k = rotated(a.query, a.query_norm, a.heads), rotated(a.key, a.key_norm, a.kv_heads)
            v = b.linear(n, a.value, a.kv_heads * a.head_dim)
            s = dialect.float_attention(q, k, v, name=a.name, heads=a.heads, kv_heads=a.kv_heads, scale=a.scale)
            x = dialect.float_add(x, b.linear(s, a.output, d.hidden), name=f"{layer.name}.attention")
            n = b.norm_(x, layer.mlp_norm)
            g, u = (b.linear(n, name, layer.intermediate) for name in (layer.gate, layer.up))
            inner = dialect.float_gated(g, u, name=layer.gate.rpartition(".")[0] + ".act_fn")
            x = dialect.float_add(x, b.linear(inner, layer.down, d.hidden), name=f"{layer.name}.mlp")
        return b.linear(b.norm_(x, d.final_norm), d.head, d.vocabulary)

    return _module(["tensor<?xi32>", "tensor<1xi32>"], body)
