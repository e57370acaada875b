// naive   y[b, m, n] = Σk lhs[b, m, k]·rhs[b, k, n] (+ bias[n])
// Reference  src/ops/matmul/mod.rs
// Layout     lhs, rhs: f32, any strides, batch axes broadcast; y: f32 [batch, m, n], dense; bias: f32 [n]
// Bindings   0 params uniform · 1 lhs read · 2 rhs read · 3 bias read · 4 y read_write
// Mapping    one invocation an output; groups fold into grid y
// Tiles      none: the bottom rung, and the kernel for a single row or column
// Numerics   f32; the terms in order of k
// Barriers   none

const BIAS: bool = false;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    tiles: u32, // outputs of the whole batch
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
    @builtin(local_invocation_index) local: u32,
) {
    let output = (group.y * groups.x + group.x) * 64u + local;
    if output >= params.tiles {
        return;
    }
    let n = output % params.n;
    let m = output / params.n % params.m;
    let batch = output / params.n / params.m;
    let at = batch_offsets(batch);
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        sum += lhs[at.x + m * params.lhs_m + k * params.lhs_k] * rhs[at.y + k * params.rhs_k + n * params.rhs_n];
    }
    if BIAS {
        sum += bias[n];
    }
    y[output] = sum;
}
