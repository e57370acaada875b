// reduce   y[o] = scale·(Σ or max over r of x[kept position of o + reduced position of r])
// Reference  src/ops/reduce.rs
// Layout     x: f32, any strides; y: f32 [rows, chunks], dense. A long reduction is cut into chunks
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    LANES invocations share OUTPUTS rows; those beyond the device's limit of groups fold into grid y
// Tiles      LANES, a power of two up to the workgroup's 64 invocations
// Numerics   f32; each lane sums every LANES-th term, or of fours of neighbours every LANES-th four, then a tree
//            adds the lanes
// Barriers   every lane reaches each one, lanes of rows beyond the end included

const LANES: u32 = 8u;
const MAXIMUM: bool = false;
const ONE_AXIS: bool = false; // the reduced axes merged into one: no division in the loop
const TERMS: u32 = 4u; // neighbouring terms that are read at once, 1 or 4
const OUTPUTS: u32 = 1u; // or neighbouring rows that are; fours begin at multiples of four
const GROUP: u32 = 64u;

alias X = vec4<f32>; // or f32, where TERMS and OUTPUTS are 1

struct Params {
    rows: u32, // or fours of them, times chunks
    chunks: u32,
    chunk: u32, // terms of a chunk
    terms: u32,
    offset: u32,
    kept_axes: u32,
    axes: u32,
    scale: f32,
    kept_dims: array<vec4<u32>, 2>,
    kept_strides: array<vec4<u32>, 2>,
    dims: array<vec4<u32>, 2>,
    strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<X>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

var<workgroup> partial: array<vec4<f32>, GROUP>;

fn kept_position(index: u32) -> u32 {
    var rest = index;
    var at = params.offset;
    for (var axis = params.kept_axes; axis > 1u; axis--) {
        let extent = params.kept_dims[(axis - 1u) / 4u][(axis - 1u) % 4u];
        let outer = rest / extent;
        at += (rest - outer * extent) * params.kept_strides[(axis - 1u) / 4u][(axis - 1u) % 4u];
        rest = outer;
    }
    return at + rest * params.kept_strides[0][0];
}

fn term_position(index: u32) -> u32 {
    if ONE_AXIS && TERMS == 4u {
        return index; // they are neighbours
    }
    var rest = index;
    var at = 0u;
    if !ONE_AXIS {
        for (var axis = params.axes; axis > 1u; axis--) {
            let extent = params.dims[(axis - 1u) / 4u][(axis - 1u) % 4u];
            let outer = rest / extent;
            at += (rest - outer * extent) * params.strides[(axis - 1u) / 4u][(axis - 1u) % 4u];
            rest = outer;
        }
    }
    return at + rest * params.strides[0][0];
}

// A term, four terms, or a term of each of four rows.
fn load(base: u32, term: u32) -> vec4<f32> {
    return vec4<f32>(x[(base + term_position(term)) / (TERMS * OUTPUTS)]);
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
    let output = row / params.chunks * OUTPUTS;
    // A lane without a term of its own holds what changes nothing: zero, or the row's first terms.
    var total = vec4<f32>();
    if row < params.rows {
        let base = kept_position(output);
        let start = row % params.chunks * params.chunk;
        let end = min(start + params.chunk, params.terms);
        if MAXIMUM {
            total = load(base, start);
        }
        for (var term = start + TERMS * lane; term < end; term += TERMS * LANES) {
            total = combine(total, load(base, term));
        }
    }
    if LANES > 1u {
        partial[local] = total;
        for (var half = LANES / 2u; half > 0u; half /= 2u) {
            // The lower half of the lanes writes, and nobody writes what it reads.
            workgroupBarrier();
            if lane < half {
                partial[local] = combine(partial[local], partial[local + half]);
            }
        }
        total = partial[local];
    }
    if lane != 0u || row >= params.rows {
        return;
    }
    if TERMS == 4u {
        total = combine(total, total.zwxy);
        total = combine(total, total.yxwz);
    }
    total *= params.scale;
    let at = output * params.chunks + row % params.chunks;
    y[at] = total.x;
    if OUTPUTS == 4u {
        y[at + params.chunks] = total.y;
        y[at + 2u * params.chunks] = total.z;
        y[at + 3u * params.chunks] = total.w;
    }
}
