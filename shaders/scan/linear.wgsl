// linear   h[o,t,i] = a[o,t,i]·h[o,t−1,i] + b[o,t,i], where h before the first term is zero
// Reference  src/ops/scan.rs
// Layout     a, b, h: f32 [outer, terms, inner], dense; carry: f32 [outer·inner], from one launch to the next
// Bindings   0 params uniform · 1 a read · 2 b read · 3 h · 4 carry read_write
// Mapping    one invocation a line, term after term; more than 65535 groups fold into grid y
// Numerics   f32; the first term is b's, a's being finite
// Barriers   none

const REVERSE: bool = false; // from the last term to the first
const GROUP: u32 = 64u;

struct Params {
    count: u32, // lines
    terms: u32,
    inner: u32,
    first: u32, // of the terms of this launch; what is before them was launched before
    last: u32, // behind them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> h: array<f32>;
@group(0) @binding(4) var<storage, read_write> carry: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own = (group.y * groups.x + group.x) * GROUP + local;
    if own >= params.count {
        return;
    }
    let start = own / params.inner * params.terms * params.inner + own % params.inner;
    var last = 0.0;
    if params.first > 0u {
        last = carry[own];
    }
    for (var t = params.first; t < params.last; t++) {
        var at = start + t * params.inner;
        if REVERSE {
            at = start + (params.terms - 1u - t) * params.inner;
        }
        last = a[at] * last + b[at];
        h[at] = last;
    }
    if params.last < params.terms {
        carry[own] = last;
    }
}
