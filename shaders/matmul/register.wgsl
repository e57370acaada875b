// register   y[b, m, n] = Σk lhs[b, m, k]·rhs[b, k, n] (+ bias[n])
// Reference  src/ops/matmul/mod.rs
// Layout     lhs, rhs: f32, any strides, batch axes broadcast; y: f32 [batch, m, n], dense; bias: f32 [n]
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    workgroup = tile of 8·WY rows by 8·WX columns of one batch entry; groups fold into grid y
// Tiles      WX × WY invocations, each 8×8 outputs in registers; no workgroup memory
// Numerics   f32; each output sums its terms in order of k
// Barriers   none

const BIAS: bool = false;
const WX: u32 = 8u;
const WY: u32 = 8u;

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

@compute @workgroup_size(WX, WY)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.n + 8u * WX - 1u) / (8u * WX);
    let tiles_m = (params.m + 8u * WY - 1u) / (8u * WY);
    let batch = tile / tiles_n / tiles_m;
    let m0 = tile / tiles_n % tiles_m * (8u * WY) + local.y * 8u;
    let n0 = tile % tiles_n * (8u * WX) + local.x;
    // Neighbouring invocations own neighbouring columns, so their loads of a row of rhs are contiguous.
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let start = batch_offsets(batch);
    let last_m = params.m - 1u;
    let last_n = params.n - 1u;
    let row_low = start.x + params.lhs_m * min(vec4(m0) + vec4(0u, 1u, 2u, 3u), vec4(last_m));
    let row_high = start.x + params.lhs_m * min(vec4(m0) + vec4(4u, 5u, 6u, 7u), vec4(last_m));
    var left = start.y + params.rhs_n * min(vec4(n0) + WX * vec4(0u, 1u, 2u, 3u), vec4(last_n));
    var right = start.y + params.rhs_n * min(vec4(n0) + WX * vec4(4u, 5u, 6u, 7u), vec4(last_n));
    var low = row_low;
    var high = row_high;
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
    // Zero, which no compiler knows: where the parameters say that a loop turns once or twice, llvmpipe's driver would
    // unroll it, and compile the kernel anew, at each launch.
    let zero = local.x >> 31u;
    for (var k = 0u; k < params.k + zero; k++) {
        let b = vec4(rhs[left.x], rhs[left.y], rhs[left.z], rhs[left.w]);
        let c = vec4(rhs[right.x], rhs[right.y], rhs[right.z], rhs[right.w]);
        let a0 = lhs[low.x];
        left0 += a0 * b;
        right0 += a0 * c;
        let a1 = lhs[low.y];
        left1 += a1 * b;
        right1 += a1 * c;
        let a2 = lhs[low.z];
        left2 += a2 * b;
        right2 += a2 * c;
        let a3 = lhs[low.w];
        left3 += a3 * b;
        right3 += a3 * c;
        let a4 = lhs[high.x];
        left4 += a4 * b;
        right4 += a4 * c;
        let a5 = lhs[high.y];
        left5 += a5 * b;
        right5 += a5 * c;
        let a6 = lhs[high.z];
        left6 += a6 * b;
        right6 += a6 * c;
        let a7 = lhs[high.w];
        left7 += a7 * b;
        right7 += a7 * c;
        left += params.rhs_k;
        right += params.rhs_k;
        low += params.lhs_k;
        high += params.lhs_k;
    }
    store(batch, m0, n0, left0, right0);
    store(batch, m0 + 1u, n0, left1, right1);
    store(batch, m0 + 2u, n0, left2, right2);
    store(batch, m0 + 3u, n0, left3, right3);
    store(batch, m0 + 4u, n0, left4, right4);
    store(batch, m0 + 5u, n0, left5, right5);
    store(batch, m0 + 6u, n0, left6, right6);
    store(batch, m0 + 7u, n0, left7, right7);
}

fn store(batch: u32, m: u32, n: u32, left: vec4<f32>, right: vec4<f32>) {
    if m >= params.m {
        return;
    }
    let row = (batch * params.m + m) * params.n;
    for (var j = 0u; j < 4u; j++) {
        store_one(row, n + WX * j, left[j]);
        store_one(row, n + WX * (j + 4u), right[j]);
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
