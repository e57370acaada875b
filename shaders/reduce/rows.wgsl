// rows   y[o] = scale·(Σ or max over r of x[o·row + r]): rows of neighbours, sixteen read at once
// Reference  src/ops/reduce.rs
// Layout     x: f32, rows of multiples of sixteen elements that begin at such; y: f32 [rows, chunks], dense. A long row
//            is cut into chunks
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    an invocation to a row or chunk; those beyond the device's limit of groups fold into grid y
// Tiles      none
// Numerics   f32; four sums, of every fourth term, then theirs
// Barriers   none

const MAXIMUM: bool = false;

struct Params {
    rows: u32, // times chunks
    chunks: u32,
    chunk: u32, // terms of a chunk
    terms: u32,
    offset: u32,
    kept_axes: u32, // at most one
    axes: u32, // one
    scale: f32,
    kept_dims: array<vec4<u32>, 2>,
    kept_strides: array<vec4<u32>, 2>,
    dims: array<vec4<u32>, 2>,
    strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<mat4x4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

fn combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if MAXIMUM {
        return max(a, b);
    }
    return a + b;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.y * groups.x + group.x) * 64u + lane;
    if row >= params.rows {
        return;
    }
    let base = params.offset + row / params.chunks * params.kept_strides[0][0];
    let start = row % params.chunks * params.chunk;
    let end = min(start + params.chunk, params.terms);
    var total = vec4<f32>();
    if MAXIMUM {
        total = x[(base + start) / 16u][0];
    }
    for (var term = start; term < end; term += 16u) {
        let terms = x[(base + term) / 16u];
        total = combine(total, combine(combine(terms[0], terms[1]), combine(terms[2], terms[3])));
    }
    total = combine(total, total.zwxy);
    total = combine(total, total.yxwz);
    y[row] = params.scale * total.x;
}
