// quads   y[b, m, n] = Σk lhs[b, m, k]·rhs[b, k, n] (+ bias[n]), n a multiple of four
// Reference  src/ops/matmul/mod.rs
// Layout     lhs, rhs: f32, any strides, batch axes broadcast; y: f32 [batch, m, n], dense; bias: f32 [n]
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    workgroup = subgroup = tile of 16 rows by 8·LANES columns; groups fold into grid y
// Tiles      each invocation 16×8 outputs in registers. A lane loads four terms of every LANES-th row of lhs and
//            the subgroup passes them round, so 64 elements cost 16/LANES loads. Operands are
//            read by fours where they lie by fours in memory: lhs along k, rhs along n or along k. Workgroup memory
//            512·LANES bytes
// Numerics   f32; each output sums its terms four at a time, in order of k
// Barriers   none; a whole subgroup leaves or stays together, LANES is the size of every subgroup
//
// The specification wants `enable subgroups;` here, which naga does not take yet and does not need
// (https://github.com/gfx-rs/wgpu/issues/5555).

const LANES: u32 = 8u; // or 16, or 4 if there are no more rows
const ROWS: u32 = 16u; // of a tile that hold results: at most 1, 4, 8 or 16
const WIDE: bool = true; // whether there are more than 4·LANES columns
const LHS_QUADS: bool = true; // Lhs is vec4, along k
const RHS_ALONG_N: bool = true; // Rhs is vec4
const RHS_ALONG_K: bool = false; // Rhs is vec4

alias Lhs = vec4<f32>; // or f32
alias Rhs = vec4<f32>;

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
    bias: u32, // one if there is one
    batch_dims: array<vec4<u32>, 2>,
    lhs_batch: array<vec4<u32>, 2>,
    rhs_batch: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lhs: array<Lhs>;
@group(0) @binding(2) var<storage, read> rhs: array<Rhs>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Each lane has its own part, and no lane looks at another's.
var<workgroup> kept: array<vec4<f32>, 32u * LANES>;

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

// Of four terms from k on, those that there are; the last one stands in for the others' addresses.
fn inside(k: u32) -> vec4<bool> {
    return vec4(k) + vec4(0u, 1u, 2u, 3u) < vec4(params.k);
}

fn terms(k: u32) -> vec4<u32> {
    return min(vec4(k) + vec4(0u, 1u, 2u, 3u), vec4(params.k - 1u));
}

// Four terms of a row of lhs that begins there. What is an f32 or a vector is either made a vector: of an f32 its
// first component is the number.
fn row(start: u32, k: u32) -> vec4<f32> {
    if LHS_QUADS {
        return vec4<f32>(lhs[(start + k) / 4u]);
    }
    let at = start + params.lhs_k * terms(k);
    let x = vec4<f32>(lhs[at.x]).x;
    let y = vec4<f32>(lhs[at.y]).x;
    let z = vec4<f32>(lhs[at.z]).x;
    let w = vec4<f32>(lhs[at.w]).x;
    return select(vec4<f32>(), vec4(x, y, z, w), inside(k));
}

// One term of four columns of rhs, the first of which begins there.
fn column_quad(start: u32, k: u32) -> vec4<f32> {
    if RHS_ALONG_N {
        return vec4<f32>(rhs[(start + k * params.rhs_k) / 4u]);
    }
    let at = vec4(start + k * params.rhs_k) + params.rhs_n * vec4(0u, 1u, 2u, 3u);
    let x = vec4<f32>(rhs[at.x]).x;
    let y = vec4<f32>(rhs[at.y]).x;
    let z = vec4<f32>(rhs[at.z]).x;
    let w = vec4<f32>(rhs[at.w]).x;
    return vec4(x, y, z, w);
}

// Four terms of four columns: a column of the result is a term.
fn columns(start: u32, k: u32) -> mat4x4<f32> {
    if RHS_ALONG_K {
        let at = vec4(start + k) + params.rhs_n * vec4(0u, 1u, 2u, 3u);
        let x = vec4<f32>(rhs[at.x / 4u]);
        let y = vec4<f32>(rhs[at.y / 4u]);
        let z = vec4<f32>(rhs[at.z / 4u]);
        let w = vec4<f32>(rhs[at.w / 4u]);
        return transpose(mat4x4(x, y, z, w));
    }
    let at = terms(k);
    let x = column_quad(start, at.x);
    var y = column_quad(start, at.y);
    var z = column_quad(start, at.z);
    var w = column_quad(start, at.w);
    if !LHS_QUADS {
        // Zero times what stands in could be NaN.
        let there = inside(k);
        y = select(vec4<f32>(), y, vec4(there.y));
        z = select(vec4<f32>(), z, vec4(there.z));
        w = select(vec4<f32>(), w, vec4(there.w));
    }
    return mat4x4(x, y, z, w);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.n + 8u * LANES - 1u) / (8u * LANES);
    let tiles_m = (params.m + 15u) / 16u;
    // Neighbours share the columns of rhs, which they are likely to find in a cache.
    let batch = tile / tiles_m / tiles_n;
    let m0 = tile % tiles_m * 16u;
    let n0 = tile / tiles_m % tiles_n * (8u * LANES) + 4u * lane;
    // Rows and columns beyond the edge repeat the last ones and are not stored.
    let start = batch_offsets(batch);
    let near = start.y + params.rhs_n * min(n0, params.n - 4u);
    let far = start.y + params.rhs_n * min(n0 + 4u * LANES, params.n - 4u);
    let low = start.x + params.lhs_m * min(m0 + lane, params.m - 1u);
    let high = start.x + params.lhs_m * min(m0 + 8u + lane, params.m - 1u);
    var near_sum: array<vec4<f32>, 16>;
    var far_sum: array<vec4<f32>, 16>;
    for (var k = 0u; k < params.k; k += 4u) {
        let a = row(low, k);
        var b = a;
        if ROWS == 16u && LANES == 8u {
            b = row(high, k);
        }
        accumulate(&near_sum, a, b, columns(near, k));
        if WIDE {
            accumulate(&far_sum, a, b, columns(far, k));
        }
    }
    keep(0u, lane, near_sum[0], far_sum[0]);
    keep(1u, lane, near_sum[1], far_sum[1]);
    keep(2u, lane, near_sum[2], far_sum[2]);
    keep(3u, lane, near_sum[3], far_sum[3]);
    keep(4u, lane, near_sum[4], far_sum[4]);
    keep(5u, lane, near_sum[5], far_sum[5]);
    keep(6u, lane, near_sum[6], far_sum[6]);
    keep(7u, lane, near_sum[7], far_sum[7]);
    keep(8u, lane, near_sum[8], far_sum[8]);
    keep(9u, lane, near_sum[9], far_sum[9]);
    keep(10u, lane, near_sum[10], far_sum[10]);
    keep(11u, lane, near_sum[11], far_sum[11]);
    keep(12u, lane, near_sum[12], far_sum[12]);
    keep(13u, lane, near_sum[13], far_sum[13]);
    keep(14u, lane, near_sum[14], far_sum[14]);
    keep(15u, lane, near_sum[15], far_sum[15]);
    for (var row = 0u; row < rows_to_store(lane); row++) {
        if m0 + row < params.m {
            store(batch, m0 + row, n0, row * (2u * LANES) + lane);
        }
    }
}

// Puts a row of sums where a loop can store them: stores take long to compile, and 16 times as many as long again.
fn keep(row: u32, lane: u32, near: vec4<f32>, far: vec4<f32>) {
    kept[row * (2u * LANES) + lane] = near;
    if WIDE {
        kept[row * (2u * LANES) + LANES + lane] = far;
    }
}

// Adds to a tile of 16 rows by four columns a lane the products of four terms: those of row i are held by lane i of
// `low`, or from 8 on with 8 lanes by lane i − 8 of `high`, and those of the lane's own columns by `columns`.
fn accumulate(sum: ptr<function, array<vec4<f32>, 16>>, low: vec4<f32>, high: vec4<f32>, columns: mat4x4<f32>) {
    (*sum)[0] += columns * subgroupBroadcast(low, 0u);
    if ROWS == 1u {
        return;
    }
    (*sum)[1] += columns * subgroupBroadcast(low, 1u);
    (*sum)[2] += columns * subgroupBroadcast(low, 2u);
    (*sum)[3] += columns * subgroupBroadcast(low, 3u);
    if ROWS == 4u {
        return;
    }
    (*sum)[4] += columns * subgroupBroadcast(low, 4u);
    (*sum)[5] += columns * subgroupBroadcast(low, 5u);
    (*sum)[6] += columns * subgroupBroadcast(low, 6u);
    (*sum)[7] += columns * subgroupBroadcast(low, 7u);
    if ROWS == 8u {
        return;
    }
    let rest = select(low, high, vec4(LANES == 8u));
    (*sum)[8] += columns * subgroupBroadcast(rest, 8u % LANES);
    (*sum)[9] += columns * subgroupBroadcast(rest, 9u % LANES);
    (*sum)[10] += columns * subgroupBroadcast(rest, 10u % LANES);
    (*sum)[11] += columns * subgroupBroadcast(rest, 11u % LANES);
    (*sum)[12] += columns * subgroupBroadcast(rest, 12u % LANES);
    (*sum)[13] += columns * subgroupBroadcast(rest, 13u % LANES);
    (*sum)[14] += columns * subgroupBroadcast(rest, 14u % LANES);
    (*sum)[15] += columns * subgroupBroadcast(rest, 15u % LANES);
}

fn store(batch: u32, m: u32, n: u32, at: u32) {
    let row = (batch * params.m + m) * params.n;
    store_quad(row, n, kept[at]);
    if WIDE {
        store_quad(row, n + 4u * LANES, kept[at + LANES]);
    }
}

fn store_quad(row: u32, n: u32, value: vec4<f32>) {
    if n < params.n {
        var shift = vec4<f32>();
        if params.bias == 1u {
            shift = bias[n / 4u];
        }
        y[(row + n) / 4u] = value + shift;
    }
}

// ROWS, which no compiler is to know: for a loop that stores rows. Unrolled, stores take as long to compile as the sums;
// and where parameters say how often a loop turns, llvmpipe's driver may compile the kernel anew at each launch.
fn rows_to_store(lane: u32) -> u32 {
    return ROWS + (lane >> 31u);
}
