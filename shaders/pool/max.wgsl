// max   y[p,i,j] = max of x[p,h,w] over the window of (i, j); position = h·width + w of its first maximum
// Reference  src/ops/pool.rs
// Layout     x: f32 [planes, height, width]; y: f32, position: i32 [planes, out_height, out_width]; dense
// Bindings   0 params uniform · 1 x read · 2 y read_write · 3 position read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   comparisons only: exact
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
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> position: array<i32>;

// The first cell of a window, which starts at a padded coordinate, that is no padding.
fn first_cell(start: u32, pad: u32, dilation: u32) -> u32 {
    let skipped = (max(start, pad) - start + dilation - 1u) / dilation;
    return start + skipped * dilation - pad;
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
    // In padded coordinates, where nothing is negative; no window lies in the padding alone.
    let row = own / params.out_width;
    let plane = row / params.out_height;
    let top = (row - plane * params.out_height) * params.stride_h;
    let left = (own - row * params.out_width) * params.stride_w;
    let first_h = first_cell(top, params.pad_h, params.dilation_h);
    let first_w = first_cell(left, params.pad_w, params.dilation_w);
    let end_h = min(top + params.reach_h, params.height + params.pad_h) - params.pad_h;
    let end_w = min(left + params.reach_w, params.width + params.pad_w) - params.pad_w;
    let cells = plane * params.height * params.width;
    var at = first_h * params.width + first_w;
    var best = x[cells + at];
    for (var h = first_h; h < end_h; h += params.dilation_h) {
        for (var w = first_w; w < end_w; w += params.dilation_w) {
            let value = x[cells + h * params.width + w];
            if value > best {
                best = value;
                at = h * params.width + w;
            }
        }
    }
    y[own] = best;
    position[own] = i32(at);
}
