// prefix   y[r, c] = Σ over j ≤ c of x[r, j]
// Layout     x, y: f32 [rows, cols], dense
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    one invocation a row

struct Params {
    rows: u32,
    cols: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = (group.y * groups.x + group.x) * 64u + local;
    if row >= params.rows {
        return;
    }
    var sum = 0.0;
    for (var c = 0u; c < params.cols; c++) {
        sum += x[row * params.cols + c];
        y[row * params.cols + c] = sum;
    }
}
