// row   y[p, b, n] = Σk lhs[b, k]·rhs[b, k, n] (+ bias[n]) over the p-th TERMS of k: one row times matrices whose rows
//       lie by fours, in pieces that a second pass adds up
// Reference  src/ops/matmul/mod.rs
// Layout     lhs: f32 [batch, 1, k], rhs: f32 [batch, k, n], any other strides, batch axes broadcast; y: f32
//            [pieces, batch, n], dense; bias: f32 [n], added by the first piece. TERMS divides k, four divides n
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    workgroup = TURNS·4·LANES columns of a piece; those of a piece follow each other, so that rhs is read
//            row beside row, and pages and cache lines are met while they are near; groups fold into grid y
// Tiles      each invocation four columns at a time
// Numerics   f32, in order of k within a piece
// Barriers   none

const LANES: u32 = 64u;
const TURNS: u32 = 1u;
const BIAS: bool = false;
const TERMS: u32 = 16u;

struct Params {
    m: u32, // one
    n: u32,
    k: u32,
    tiles: u32, // workgroups that have work
    lhs_offset: u32,
    lhs_m: u32, // strides
    lhs_k: u32,
    rhs_offset: u32,
    rhs_k: u32,
    rhs_n: u32, // one
    terms: u32, // TERMS
    batches: u32,
    batch_dims: array<vec4<u32>, 2>,
    lhs_batch: array<vec4<u32>, 2>,
    rhs_batch: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lhs: array<f32>;
@group(0) @binding(2) var<storage, read> rhs: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Where the matrices of a batch entry begin.
fn batch_offsets(index: u32) -> vec2<u32> {
    var rest = index;
    var at = vec2(params.lhs_offset, params.rhs_offset);
    for (var axis = 8u; axis > 0u; axis--) {
        let word = (axis - 1u) / 4u;
        let lane = (axis - 1u) % 4u;
        let index = rest % params.batch_dims[word][lane];
        at += index * vec2(params.lhs_batch[word][lane], params.rhs_batch[word][lane]);
        rest /= params.batch_dims[word][lane];
    }
    return at;
}

// Four neighbouring terms of lhs.
fn four_terms(first: u32) -> vec4<f32> {
    let at = first + params.lhs_k * vec4(0u, 1u, 2u, 3u);
    return vec4(lhs[at.x], lhs[at.y], lhs[at.z], lhs[at.w]);
}

// Their products with four columns of as many rows of rhs, added up.
fn products(terms: vec4<f32>, first: u32, row: u32) -> vec4<f32> {
    let upper = terms.x * rhs[first] + terms.y * rhs[first + row];
    return upper + terms.z * rhs[first + 2u * row] + terms.w * rhs[first + 3u * row];
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let width = params.n / 4u;
    let strips = (width + TURNS * LANES - 1u) / (TURNS * LANES);
    let pieces = params.k / TERMS;
    let piece = tile / strips % pieces;
    let batch = tile / strips / pieces;
    let start = batch_offsets(batch);

    let step = params.lhs_k;
    let left = start.x + piece * TERMS * step;
    let a = four_terms(left);
    let b = four_terms(left + 4u * step);
    let c = four_terms(left + 8u * step);
    let d = four_terms(left + 12u * step);

    let row = params.rhs_k / 4u;
    let right = start.y / 4u + piece * TERMS * row;
    let to = (piece * params.batches + batch) * width;
    let first = tile % strips * (TURNS * LANES) + lane;
    let end = min(first + TURNS * LANES, width);
    for (var column = first; column < end; column += LANES) {
        let at = right + column;
        var sum = products(a, at, row);
        sum += products(b, at + 4u * row, row);
        sum += products(c, at + 8u * row, row);
        sum += products(d, at + 12u * row, row);
        if BIAS && piece == 0u {
            sum += bias[column];
        }
        y[to + column] = sum;
    }
}
