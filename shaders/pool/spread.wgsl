// spread   dx[p,h,w] = Σ dy[p,i,j] over the windows (i, j) that contain (h, w): the transpose of sum
// Reference  src/ops/pool.rs
// Layout     dy: f32 [planes, out_height, out_width]; dx: f32 [planes, height, width]; dense
// Bindings   0 params uniform · 1 dy read · 2 dx read_write
// Mapping    one invocation an element of dx; more than 65535 groups fold into grid y
// Numerics   f32, window by window; zero where no window reaches
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
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;

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
    let column = own - row * params.width;
    let plane = row / params.height;
    let h = row - plane * params.height + params.pad_h;
    let w = column + params.pad_w;
    // Windows are counted from one, from the last that has begun here back to the first that reaches here.
    let last_i = min(h / params.stride_h + 1u, params.out_height);
    let last_j = min(w / params.stride_w + 1u, params.out_width);
    var total = 0.0;
    for (var i = last_i; i > 0u && (i - 1u) * params.stride_h + params.reach_h > h; i--) {
        if (h - (i - 1u) * params.stride_h) % params.dilation_h != 0u {
            continue;
        }
        let windows = (plane * params.out_height + i - 1u) * params.out_width;
        for (var j = last_j; j > 0u && (j - 1u) * params.stride_w + params.reach_w > w; j--) {
            let window = windows + j - 1u;
            if (w - (j - 1u) * params.stride_w) % params.dilation_w == 0u {
                total += dy[window];
            }
        }
    }
    dx[own] = total;
}
