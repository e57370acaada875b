// gather   y[o,j,i] = x[o, indices[o,j,i], i], or with indices [chosen] alone x[o, indices[j], i]
// Reference  src/ops/index/along.rs
// Layout     x: [outer, extent, inner]; y: [outer, chosen, inner], f32 or i32, dense; indices: i32, strides
//            index_outer, index_step, index_inner: zero along what they do not depend on
// Bindings   0 params uniform · 1 x read · 2 indices read · 3 y read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   copies of words, whatever they mean: exact
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    extent: u32,
    chosen: u32,
    inner: u32,
    index_outer: u32,
    index_step: u32,
    index_inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let own = (group.y * groups.x + group.x) * GROUP + local;
    if own >= params.count {
        return;
    }
    let row = own / params.inner;
    let i = own % params.inner;
    let o = row / params.chosen;
    let at = o * params.index_outer + row % params.chosen * params.index_step + i * params.index_inner;
    y[own] = x[(o * params.extent + u32(indices[at])) * params.inner + i];
}
