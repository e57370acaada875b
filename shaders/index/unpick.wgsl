// unpick   y[r,c] = x[r] where c = labels[r], else 0: the transpose of pick
// Reference  src/ops/index/pick.rs
// Layout     x: f32, labels: i32 [rows]; y: f32 [rows, classes]; dense
// Bindings   0 params uniform · 1 x read · 2 labels read · 3 y read_write
// Mapping    one invocation an element of y; more than 65535 groups fold into grid y
// Numerics   copies: exact
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    classes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> labels: array<i32>;
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
    let row = own / params.classes;
    var value = 0.0;
    if u32(labels[row]) == own % params.classes {
        value = x[row];
    }
    y[own] = value;
}
