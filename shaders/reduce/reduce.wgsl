// reduce   y[o] = Σ or max over r of x[kept position of o + reduced position of r]
// Reference  src/ops/reduce.rs
// Layout     x: f32, any strides; y: f32, dense. A long reduction is cut into chunks, each a row of y
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    LANES invocations share a row; rows beyond the device's limit of groups fold into grid y
// Tiles      LANES, a power of two up to the workgroup's 64 invocations
// Numerics   f32; each lane sums every LANES-th term, or of fours of neighbours every LANES-th four, then a tree
//            adds the lanes
// Barriers   every lane reaches each one, lanes of rows beyond the end included

const LANES: u32 = 8u;
const MAXIMUM: bool = false;
const ONE_AXIS: bool = false; // the reduced axes merged into one: no division in the loop
const QUADS: bool = true; // X is vec4: one axis, of neighbours, every row of which begins at a multiple of four
const GROUP: u32 = 64u;

alias X = vec4<f32>; // or f32

struct Params {
    rows: u32,
    chunks: u32,
    chunk: u32, // terms of a chunk
    terms: u32,
    offset: u32,
    kept_dims: array<vec4<u32>, 2>,
    kept_strides: array<vec4<u32>, 2>,
    dims: array<vec4<u32>, 2>,
    strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<f32, GROUP>;

fn kept_position(index: u32) -> u32 {
    var rest = index;
    var at = params.offset;
    for (var axis = 8u; axis > 0u; axis--) {
        let extent = params.kept_dims[(axis - 1u) / 4u][(axis - 1u) % 4u];
        at += rest % extent * params.kept_strides[(axis - 1u) / 4u][(axis - 1u) % 4u];
        rest /= extent;
    }
    return at;
}

fn term_position(index: u32) -> u32 {
    if ONE_AXIS {
        return index * params.strides[0][0];
    }
    var rest = index;
    var at = 0u;
    for (var axis = 8u; axis > 0u; axis--) {
        let extent = params.dims[(axis - 1u) / 4u][(axis - 1u) % 4u];
        at += rest % extent * params.strides[(axis - 1u) / 4u][(axis - 1u) % 4u];
        rest /= extent;
    }
    return at;
}

// The term, or the first of its four.
fn first(base: u32, term: u32) -> f32 {
    if QUADS {
        return vec4<f32>(x[(base + term) / 4u]).x;
    }
    return vec4<f32>(x[base + term_position(term)]).x;
}

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
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * (GROUP / LANES) + local / LANES;
    let lane = local % LANES;
    // A lane without a term of its own holds what changes nothing: zero, or the row's first term.
    var total = 0.0;
    if row < params.rows {
        let base = kept_position(row / params.chunks);
        let start = row % params.chunks * params.chunk;
        let end = min(start + params.chunk, params.terms);
        if MAXIMUM {
            total = first(base, start);
        }
        if QUADS {
            var four = vec4(total);
            for (var term = start + 4u * lane; term < end; term += 4u * LANES) {
                four = combine(four, vec4<f32>(x[(base + term) / 4u]));
            }
            let two = combine(four, four.zwxy);
            total = combine(two, two.yxwz).x;
        } else {
            for (var term = start + lane; term < end; term += LANES) {
                total = combine(vec4(total), vec4(first(base, term))).x;
            }
        }
    }
    partial[local] = total;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        // The lower half of the lanes writes, and nobody writes what it reads.
        workgroupBarrier();
        if lane < half {
            partial[local] = combine(vec4(partial[local]), vec4(partial[local + half])).x;
        }
    }
    if lane == 0u && row < params.rows {
        y[row] = partial[local];
    }
}
