// select   y[o,j,i] = x[o, indices[j], i]
// Reference  src/ops/index.rs
// Layout     x: f32 [outer, extent, inner]; indices: i32 [chosen]; y: f32 [outer, chosen, inner]; dense
// Bindings   0 params uniform · 1 x read · 2 indices read · 3 y read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   copies: exact
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    extent: u32,
    chosen: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    let slice = row / params.chosen * params.extent + u32(indices[row % params.chosen]);
    y[own] = x[slice * params.inner + own % params.inner];
}
