// tiled   y[b, m, n] = Σk lhs[b, m, k]·rhs[b, k, n] (+ bias[n])
// Reference  src/ops/matmul/mod.rs
// Layout     lhs, rhs: f32, any strides, batch axes broadcast; y: f32 [chunks, batch, m, n], dense; bias: f32 [n]
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    workgroup = tile of 8·WY rows by 4·WX columns of one batch entry and one chunk of the terms; where
//            there are several chunks, a second pass adds them; groups fold into grid y
// Tiles      WX × WY invocations, each 8×4 outputs in registers; STEP k at a time in workgroup memory, four rows or
//            columns to a word, a line of words longer than what it holds, so that lanes write to different banks
// Numerics   f32; each output sums its terms in order of k
// Barriers   two a step; a whole group leaves or stays together
//
// FULL: m, n and the terms of each chunk are whole tiles, so nothing is tested.

const BIAS: bool = false;
const FULL: bool = false;
const WX: u32 = 16u;
const WY: u32 = 8u;
const STEP: u32 = 16u;

const LHS_LINE: u32 = 2u * WY + 1u;
const RHS_LINE: u32 = WX + 1u;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    tiles: u32, // workgroups that have work
    lhs_offset: u32,
    lhs_m: u32, // strides
    lhs_k: u32,
    rhs_offset: u32,
    rhs_k: u32,
    rhs_n: u32,
    terms: u32, // of a chunk
    batches: u32,
    batch_dims: array<vec4<u32>, 2>,
    lhs_batch: array<vec4<u32>, 2>,
    rhs_batch: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lhs: array<f32>;
@group(0) @binding(2) var<storage, read> rhs: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

var<workgroup> lhs_tile: array<vec4<f32>, STEP * LHS_LINE>; // STEP k by 8·WY m
var<workgroup> rhs_tile: array<vec4<f32>, STEP * RHS_LINE>; // STEP k by 4·WX n

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

// A term of four rows of lhs. Rows beyond the edge repeat the last one and are not stored.
fn load_lhs(start: u32, m: u32, k: u32, end: u32) -> vec4<f32> {
    var rows = vec4(m) + vec4(0u, 1u, 2u, 3u);
    if !FULL {
        if k >= end {
            return vec4<f32>();
        }
        rows = min(rows, vec4(params.m - 1u));
    }
    let at = start + k * params.lhs_k + rows * params.lhs_m;
    return vec4(lhs[at.x], lhs[at.y], lhs[at.z], lhs[at.w]);
}

// The same of rhs, for four columns.
fn load_rhs(start: u32, n: u32, k: u32, end: u32) -> vec4<f32> {
    var columns = vec4(n) + vec4(0u, 1u, 2u, 3u);
    if !FULL {
        if k >= end {
            return vec4<f32>();
        }
        columns = min(columns, vec4(params.n - 1u));
    }
    let at = start + k * params.rhs_k + columns * params.rhs_n;
    return vec4(rhs[at.x], rhs[at.y], rhs[at.z], rhs[at.w]);
}

// Which four of `fours`, and which k, is the part of a tile that an invocation loads: neighbours along whichever
// axis of the operand is contiguous.
fn share(at: u32, fours: u32, along_k: bool) -> vec2<u32> {
    return select(vec2(at % fours, at / fours), vec2(at / STEP, at % STEP), along_k);
}

@compute @workgroup_size(WX, WY)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.n + 4u * WX - 1u) / (4u * WX);
    let tiles_m = (params.m + 8u * WY - 1u) / (8u * WY);
    let matrix = tile / tiles_n / tiles_m;
    let start = batch_offsets(matrix % params.batches);
    let chunk = matrix / params.batches;
    let m0 = tile / tiles_n % tiles_m * (8u * WY);
    let n0 = tile % tiles_n * (4u * WX);
    let tx = local % WX;
    let ty = local / WX;
    let end = min((chunk + 1u) * params.terms, params.k);
    var row0 = vec4<f32>();
    var row1 = vec4<f32>();
    var row2 = vec4<f32>();
    var row3 = vec4<f32>();
    var row4 = vec4<f32>();
    var row5 = vec4<f32>();
    var row6 = vec4<f32>();
    var row7 = vec4<f32>();
    for (var k0 = chunk * params.terms; k0 < end; k0 += STEP) {
        for (var part = local; part < STEP * 2u * WY; part += WX * WY) {
            let at = share(part, 2u * WY, params.lhs_k == 1u);
            lhs_tile[at.y * LHS_LINE + at.x] = load_lhs(start.x, m0 + 4u * at.x, k0 + at.y, end);
        }
        for (var part = local; part < STEP * WX; part += WX * WY) {
            let at = share(part, WX, params.rhs_k == 1u);
            rhs_tile[at.y * RHS_LINE + at.x] = load_rhs(start.y, n0 + 4u * at.x, k0 + at.y, end);
        }
        workgroupBarrier();
        for (var k = 0u; k < STEP; k++) {
            let low = lhs_tile[k * LHS_LINE + 2u * ty];
            let high = lhs_tile[k * LHS_LINE + 2u * ty + 1u];
            let columns = rhs_tile[k * RHS_LINE + tx];
            row0 += low.x * columns;
            row1 += low.y * columns;
            row2 += low.z * columns;
            row3 += low.w * columns;
            row4 += high.x * columns;
            row5 += high.y * columns;
            row6 += high.z * columns;
            row7 += high.w * columns;
        }
        workgroupBarrier();
    }
    let first = 8u * ty;
    let row = matrix * params.m + m0 + first;
    store(row, n0 + 4u * tx, m0 + first, row0);
    store(row + 1u, n0 + 4u * tx, m0 + first + 1u, row1);
    store(row + 2u, n0 + 4u * tx, m0 + first + 2u, row2);
    store(row + 3u, n0 + 4u * tx, m0 + first + 3u, row3);
    store(row + 4u, n0 + 4u * tx, m0 + first + 4u, row4);
    store(row + 5u, n0 + 4u * tx, m0 + first + 5u, row5);
    store(row + 6u, n0 + 4u * tx, m0 + first + 6u, row6);
    store(row + 7u, n0 + 4u * tx, m0 + first + 7u, row7);
}

fn store(row: u32, n: u32, m: u32, values: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        let column = n + j;
        if FULL || (m < params.m && column < params.n) {
            // The second pass is not to add the bias of every chunk.
            if BIAS && row < params.batches * params.m {
                y[row * params.n + column] = values[j] + bias[column];
            } else {
                y[row * params.n + column] = values[j];
            }
        }
    }
}
