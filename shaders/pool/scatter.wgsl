// scatter   dx[p,h,w] = Σ dy[p,i,j] over the windows (i, j) whose position is (h, w)
// Reference  src/ops/pool.rs
// Layout     dy: f32, position: i32 [planes, out_height, out_width]; dx: f32 [planes, height, width]; dense
// Bindings   0 params uniform · 1 dy read · 2 position read · 3 dx read_write
// Mapping    one invocation an element of dx, which looks at the windows that contain it: no two write one
//            element, so no atomics. More than 65535 groups fold into grid y
// Numerics   f32, window by window; zero where no window chose the element
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // invocations with work
    height: u32,
    width: u32,
    out_height: u32,
    out_width: u32,
    reach_h: u32, // of a window, from its first cell to its last
    reach_w: u32,
    stride_h: u32,
    stride_w: u32,
    pad_h: u32,
    pad_w: u32,
    dilation_h: u32,
    dilation_w: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> position: array<i32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;

// The first window that reaches a padded coordinate: the least o with o·stride + reach > at.
fn first_window(at: u32, reach: u32, stride: u32) -> u32 {
    if at < reach {
        return 0u;
    }
    return (at - reach) / stride + 1u;
}

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
    let row = own / params.width;
    let h = row % params.height + params.pad_h;
    let w = own % params.width + params.pad_w;
    let end_i = min(h / params.stride_h + 1u, params.out_height);
    let end_j = min(w / params.stride_w + 1u, params.out_width);
    let first_j = first_window(w, params.reach_w, params.stride_w);
    let plane = row / params.height * params.out_height * params.out_width;
    let wanted = i32(own % (params.height * params.width));
    var total = 0.0;
    for (var i = first_window(h, params.reach_h, params.stride_h); i < end_i; i++) {
        for (var j = first_j; j < end_j; j++) {
            let window = plane + i * params.out_width + j;
            if position[window] == wanted {
                total += dy[window];
            }
        }
    }
    dx[own] = total;
}
