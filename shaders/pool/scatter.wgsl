// scatter   dx[p,h,w] = Σ dy[p,i,j] over the windows (i, j) whose position is (h, w)
// Reference  src/ops/pool.rs
// Layout     dy: f32, position: i32 [planes, out_height, out_width]; dx: f32 [planes, height, width]; dense
// Bindings   0 params uniform · 1 dy read · 2 position read · 3 dx read_write
// Mapping    one invocation an element of dx, which looks at the windows that contain it: no two write one
//            element, so no atomics; or, APART, one a window, which writes its elements and those up to the next
//            window. More than 65535 groups fold into grid y
// Numerics   f32, window by window; zero where no window chose the element
// Barriers   none

const GROUP: u32 = 64u;
const APART: bool = false; // no two windows have an element in common

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
    if APART {
        spread(own);
    } else {
        collect(own);
    }
}

// What one element gets. A division costs more than anything else here.
fn collect(own: u32) {
    let row = own / params.width;
    let plane = row / params.height;
    let h = row - plane * params.height + params.pad_h;
    let w = own - row * params.width + params.pad_w;
    let wanted = i32(own - plane * params.height * params.width);
    // Windows are counted from one, from the last that has begun here back to the first that reaches here.
    let last_i = min(h / params.stride_h + 1u, params.out_height);
    let last_j = min(w / params.stride_w + 1u, params.out_width);
    var total = 0.0;
    for (var i = last_i; i > 0u && (i - 1u) * params.stride_h + params.reach_h > h; i--) {
        let windows = (plane * params.out_height + i - 1u) * params.out_width;
        for (var j = last_j; j > 0u && (j - 1u) * params.stride_w + params.reach_w > w; j--) {
            let window = windows + j - 1u;
            if position[window] == wanted {
                total += dy[window];
            }
        }
    }
    dx[own] = total;
}

// What one window gives. The first begins at the first element or before it.
fn spread(window: u32) {
    let row = window / params.out_width;
    let plane = row / params.out_height;
    let i = row - plane * params.out_height;
    let j = window - row * params.out_width;
    let first_h = max(i * params.stride_h, params.pad_h) - params.pad_h;
    let first_w = max(j * params.stride_w, params.pad_w) - params.pad_w;
    let end_h = select((i + 1u) * params.stride_h - params.pad_h, params.height, i + 1u == params.out_height);
    let end_w = select((j + 1u) * params.stride_w - params.pad_w, params.width, j + 1u == params.out_width);
    let chosen = u32(position[window]);
    let value = dy[window];
    for (var h = first_h; h < end_h; h++) {
        for (var w = first_w; w < end_w; w++) {
            let at = h * params.width + w;
            dx[plane * params.height * params.width + at] = select(0.0, value, at == chosen);
        }
    }
}
