// subgroup   y[b, m, n] = Σk lhs[b, m, k]·rhs[b, k, n] (+ bias[n])
// Reference  src/ops/matmul.rs
// Layout     lhs, rhs: f32, any strides, batch axes broadcast; y: f32 [batch, m, n], dense; bias: f32 [n]
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    subgroup = tile of 16 rows by 8·LANES columns; workgroup = WY × WX of them; groups fold into grid y
// Tiles      each invocation 16×8 outputs in registers. A lane loads every LANES-th element of a column of lhs
//            and the subgroup passes them round, so 16 rows cost 16/LANES loads; no workgroup memory
// Numerics   f32; each output sums its terms in order of k
// Barriers   none; a whole subgroup leaves or stays together, LANES is the size of every subgroup
//
// The specification wants `enable subgroups;` here, which naga does not take yet and does not need
// (https://github.com/gfx-rs/wgpu/issues/5555).

const BIAS: bool = false;
const LANES: u32 = 8u; // or 16
const WX: u32 = 2u;
const WY: u32 = 4u;

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
    batch_dims: array<vec4<u32>, 2>,
    lhs_batch: array<vec4<u32>, 2>,
    rhs_batch: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lhs: array<f32>;
@group(0) @binding(2) var<storage, read> rhs: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

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

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.n + 8u * LANES * WX - 1u) / (8u * LANES * WX);
    let tiles_m = (params.m + 16u * WY - 1u) / (16u * WY);
    let batch = tile / tiles_n / tiles_m;
    let m0 = (tile / tiles_n % tiles_m * WY + subgroup / WX) * 16u;
    let n0 = (tile % tiles_n * WX + subgroup % WX) * (8u * LANES) + lane;
    // Neighbouring lanes own neighbouring columns, so their loads of a row of rhs are contiguous.
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let start = batch_offsets(batch);
    let last_n = vec4(params.n - 1u);
    var near = start.y + params.rhs_n * min(vec4(n0) + LANES * vec4(0u, 1u, 2u, 3u), last_n);
    var far = start.y + params.rhs_n * min(vec4(n0) + LANES * vec4(4u, 5u, 6u, 7u), last_n);
    let rows = min(vec2(m0 + lane) + LANES * vec2(0u, 1u), vec2(params.m - 1u));
    var at = start.x + params.lhs_m * rows;
    var left0 = vec4<f32>();
    var right0 = vec4<f32>();
    var left1 = vec4<f32>();
    var right1 = vec4<f32>();
    var left2 = vec4<f32>();
    var right2 = vec4<f32>();
    var left3 = vec4<f32>();
    var right3 = vec4<f32>();
    var left4 = vec4<f32>();
    var right4 = vec4<f32>();
    var left5 = vec4<f32>();
    var right5 = vec4<f32>();
    var left6 = vec4<f32>();
    var right6 = vec4<f32>();
    var left7 = vec4<f32>();
    var right7 = vec4<f32>();
    var left8 = vec4<f32>();
    var right8 = vec4<f32>();
    var left9 = vec4<f32>();
    var right9 = vec4<f32>();
    var left10 = vec4<f32>();
    var right10 = vec4<f32>();
    var left11 = vec4<f32>();
    var right11 = vec4<f32>();
    var left12 = vec4<f32>();
    var right12 = vec4<f32>();
    var left13 = vec4<f32>();
    var right13 = vec4<f32>();
    var left14 = vec4<f32>();
    var right14 = vec4<f32>();
    var left15 = vec4<f32>();
    var right15 = vec4<f32>();
    for (var k = 0u; k < params.k; k++) {
        let b = vec4(rhs[near.x], rhs[near.y], rhs[near.z], rhs[near.w]);
        let c = vec4(rhs[far.x], rhs[far.y], rhs[far.z], rhs[far.w]);
        // Element i of lane l is row i·LANES + l.
        var a = vec2(lhs[at.x], 0.0);
        if LANES < 16u {
            a.y = lhs[at.y];
        }
        let a0 = subgroupBroadcast(a[0u / LANES], 0u % LANES);
        left0 += a0 * b;
        right0 += a0 * c;
        let a1 = subgroupBroadcast(a[1u / LANES], 1u % LANES);
        left1 += a1 * b;
        right1 += a1 * c;
        let a2 = subgroupBroadcast(a[2u / LANES], 2u % LANES);
        left2 += a2 * b;
        right2 += a2 * c;
        let a3 = subgroupBroadcast(a[3u / LANES], 3u % LANES);
        left3 += a3 * b;
        right3 += a3 * c;
        let a4 = subgroupBroadcast(a[4u / LANES], 4u % LANES);
        left4 += a4 * b;
        right4 += a4 * c;
        let a5 = subgroupBroadcast(a[5u / LANES], 5u % LANES);
        left5 += a5 * b;
        right5 += a5 * c;
        let a6 = subgroupBroadcast(a[6u / LANES], 6u % LANES);
        left6 += a6 * b;
        right6 += a6 * c;
        let a7 = subgroupBroadcast(a[7u / LANES], 7u % LANES);
        left7 += a7 * b;
        right7 += a7 * c;
        let a8 = subgroupBroadcast(a[8u / LANES], 8u % LANES);
        left8 += a8 * b;
        right8 += a8 * c;
        let a9 = subgroupBroadcast(a[9u / LANES], 9u % LANES);
        left9 += a9 * b;
        right9 += a9 * c;
        let a10 = subgroupBroadcast(a[10u / LANES], 10u % LANES);
        left10 += a10 * b;
        right10 += a10 * c;
        let a11 = subgroupBroadcast(a[11u / LANES], 11u % LANES);
        left11 += a11 * b;
        right11 += a11 * c;
        let a12 = subgroupBroadcast(a[12u / LANES], 12u % LANES);
        left12 += a12 * b;
        right12 += a12 * c;
        let a13 = subgroupBroadcast(a[13u / LANES], 13u % LANES);
        left13 += a13 * b;
        right13 += a13 * c;
        let a14 = subgroupBroadcast(a[14u / LANES], 14u % LANES);
        left14 += a14 * b;
        right14 += a14 * c;
        let a15 = subgroupBroadcast(a[15u / LANES], 15u % LANES);
        left15 += a15 * b;
        right15 += a15 * c;
        near += params.rhs_k;
        far += params.rhs_k;
        at += params.lhs_k;
    }
    store(batch, m0, n0, left0, right0);
    store(batch, m0 + 1u, n0, left1, right1);
    store(batch, m0 + 2u, n0, left2, right2);
    store(batch, m0 + 3u, n0, left3, right3);
    store(batch, m0 + 4u, n0, left4, right4);
    store(batch, m0 + 5u, n0, left5, right5);
    store(batch, m0 + 6u, n0, left6, right6);
    store(batch, m0 + 7u, n0, left7, right7);
    store(batch, m0 + 8u, n0, left8, right8);
    store(batch, m0 + 9u, n0, left9, right9);
    store(batch, m0 + 10u, n0, left10, right10);
    store(batch, m0 + 11u, n0, left11, right11);
    store(batch, m0 + 12u, n0, left12, right12);
    store(batch, m0 + 13u, n0, left13, right13);
    store(batch, m0 + 14u, n0, left14, right14);
    store(batch, m0 + 15u, n0, left15, right15);
}

fn store(batch: u32, m: u32, n: u32, left: vec4<f32>, right: vec4<f32>) {
    if m >= params.m {
        return;
    }
    let row = (batch * params.m + m) * params.n;
    for (var j = 0u; j < 4u; j++) {
        store_one(row, n + LANES * j, left[j]);
        store_one(row, n + LANES * (j + 4u), right[j]);
    }
}

fn store_one(row: u32, n: u32, value: f32) {
    if n < params.n {
        if BIAS {
            y[row + n] = value + bias[n];
        } else {
            y[row + n] = value;
        }
    }
}
