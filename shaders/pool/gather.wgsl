// gather   y[p,i,j] = x[p, position[p,i,j]]: the transpose of scatter
// Reference  src/ops/pool.rs
// Layout     x: f32 [planes, plane]; position: i32, y: f32 [planes, windows]; dense
// Bindings   0 params uniform · 1 x read · 2 position read · 3 y read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   copies: exact
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // invocations with work
    plane: u32,
    windows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> position: array<i32>;
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
    y[own] = x[own / params.windows * params.plane + u32(position[own])];
}
