// sum   y[o,t,i] = offset + Σ x[o,s,i] over the s up to t (below t with EXCLUSIVE) of a chunk; with TOTALS
//       only the sum of each chunk
// Reference  src/ops/scan.rs
// Layout     x, y: f32 [outer, terms, inner]; offsets, and y of TOTALS: f32 [outer·inner, chunks]; dense
// Bindings   0 params uniform · 1 x read · 2 offsets read · 3 y read_write
// Mapping    one invocation a chunk of CHUNK terms of a line; more than 65535 groups fold into grid y
// Numerics   f32, term after term, from the sum of the chunks before
// Barriers   none

const CHUNK: u32 = 64u;
const REVERSE: bool = false; // from the last term to the first
const EXCLUSIVE: bool = false;
const TOTALS: bool = false;
const OFFSETS: bool = false;
const GROUP: u32 = 64u;

struct Params {
    count: u32, // chunks of all lines
    chunks: u32, // of one line
    terms: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> offsets: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    let line = own / params.chunks;
    let start = line / params.inner * params.terms * params.inner + line % params.inner;
    let first = own % params.chunks * CHUNK;
    let end = min(first + CHUNK, params.terms);
    var total = 0.0;
    if OFFSETS {
        total = offsets[own];
    }
    for (var t = first; t < end; t++) {
        var at = start + t * params.inner;
        if REVERSE {
            at = start + (params.terms - 1u - t) * params.inner;
        }
        let value = x[at];
        if !TOTALS {
            y[at] = select(total + value, total, EXCLUSIVE);
        }
        total += value;
    }
    if TOTALS {
        y[own] = total;
    }
}
