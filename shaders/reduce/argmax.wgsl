// argmax   y[o, i] = the first r at which x[o, r, i] is largest
// Reference  src/ops/reduce.rs
// Layout     x: f32 [outer, terms, inner], dense; y: i32 [outer, inner], dense
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   comparisons only: exact
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    outputs: u32,
    terms: u32,
    inner: u32,
    first: u32, // of the terms of this launch; what is before them was launched before
    last: u32, // behind them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let output = (group.y * groups.x + group.x) * GROUP + local;
    if output >= params.outputs {
        return;
    }
    let base = output / params.inner * params.terms * params.inner + output % params.inner;
    var at = 0u;
    if params.first > 0u {
        at = u32(y[output]);
    }
    var best = x[base + at * params.inner];
    for (var term = params.first; term < params.last; term++) {
        let value = x[base + term * params.inner];
        if value > best {
            best = value;
            at = term;
        }
    }
    y[output] = i32(at);
}
