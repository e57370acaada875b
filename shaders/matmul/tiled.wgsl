// tiled   y[b, m, n] = Σk lhs[b, m, k]·rhs[b, k, n] (+ bias[n])
// Reference  src/ops/matmul.rs
// Layout     lhs, rhs: f32, any strides, batch axes broadcast; y: f32 [batch, m, n], dense; bias: f32 [n]
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    workgroup = 64×64 tile of one batch entry; groups fold into grid y
// Tiles      256 invocations, each 4×4 outputs in registers; 16 k at a time in 8 KiB of workgroup memory
// Numerics   f32; each output sums its terms in order of k
// Barriers   two a step of 16 k; a whole group leaves or stays together

const BIAS: bool = false;

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

var<workgroup> lhs_tile: array<f32, 1024>; // 16 k by 64 m
var<workgroup> rhs_tile: array<f32, 1024>; // 16 k by 64 n

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.n + 63u) / 64u;
    let tiles_m = (params.m + 63u) / 64u;
    let batch = tile / tiles_n / tiles_m;
    let m0 = tile / tiles_n % tiles_m * 64u;
    let n0 = tile % tiles_n * 64u;
    let start = batch_offsets(batch);
    let tx = local % 16u;
    let ty = local / 16u;
    var row0 = vec4<f32>();
    var row1 = vec4<f32>();
    var row2 = vec4<f32>();
    var row3 = vec4<f32>();
    for (var k0 = 0u; k0 < params.k; k0 += 16u) {
        // Neighbours read along whichever axis of the operand is contiguous.
        for (var part = 0u; part < 4u; part++) {
            let at = local + 256u * part;
            var m = at % 64u;
            var k = at / 64u;
            if params.lhs_k == 1u {
                m = at / 16u;
                k = at % 16u;
            }
            var value = 0.0;
            if m0 + m < params.m && k0 + k < params.k {
                value = lhs[start.x + (m0 + m) * params.lhs_m + (k0 + k) * params.lhs_k];
            }
            lhs_tile[k * 64u + m] = value;
            var n = at % 64u;
            k = at / 64u;
            if params.rhs_k == 1u {
                n = at / 16u;
                k = at % 16u;
            }
            value = 0.0;
            if n0 + n < params.n && k0 + k < params.k {
                value = rhs[start.y + (k0 + k) * params.rhs_k + (n0 + n) * params.rhs_n];
            }
            rhs_tile[k * 64u + n] = value;
        }
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            let a = k * 64u + ty * 4u;
            let b = k * 64u + tx;
            let columns = vec4(rhs_tile[b], rhs_tile[b + 16u], rhs_tile[b + 32u], rhs_tile[b + 48u]);
            row0 += lhs_tile[a] * columns;
            row1 += lhs_tile[a + 1u] * columns;
            row2 += lhs_tile[a + 2u] * columns;
            row3 += lhs_tile[a + 3u] * columns;
        }
        workgroupBarrier();
    }
    store(batch, m0 + ty * 4u, n0 + tx, row0);
    store(batch, m0 + ty * 4u + 1u, n0 + tx, row1);
    store(batch, m0 + ty * 4u + 2u, n0 + tx, row2);
    store(batch, m0 + ty * 4u + 3u, n0 + tx, row3);
}

fn store(batch: u32, m: u32, n: u32, values: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        let column = n + 16u * j;
        if m < params.m && column < params.n {
            let at = (batch * params.m + m) * params.n + column;
            if BIAS {
                y[at] = values[j] + bias[column];
            } else {
                y[at] = values[j];
            }
        }
    }
}
