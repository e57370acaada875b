// conv/depthwise_weight   dw[o, i, j] = Σ over images and positions of dy[b, o, p]·x[b, o/m, source(p, i, j)]
// Reference  src/ops/conv/mod.rs
// Layout     dy: f32 [B, C·m, H', W']; x: f32 [B, C, H, W], dense; partial: f32 [chunks, C·m, kh, kw]
// Bindings   0 params uniform · 1 dy read · 2 x read · 3 partial read_write
// Mapping    the lines (b, y') of all images are cut into chunks that a second pass adds; one invocation a
//            tap and chunk; more than 65535 groups fold into grid y
// Numerics   f32; along lines, line after line; what lies outside the image adds nothing
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of partial
    channels: u32, // C·m
    multiplier: u32, // m
    lines: u32,
    line: u32, // lines of a chunk
    kernel_h: u32,
    kernel_w: u32,
    x_h: u32,
    x_w: u32,
    y_h: u32,
    y_w: u32,
    stride_h: u32,
    stride_w: u32,
    padding_h: u32,
    padding_w: u32,
    dilation_h: u32,
    dilation_w: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

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
    // Negative shifts wrap; adding a position brings them back, or leaves them beyond the image.
    let shift_x = own % params.kernel_w * params.dilation_w - params.padding_w;
    let row = own / params.kernel_w;
    let shift_y = row % params.kernel_h * params.dilation_h - params.padding_h;
    let channel = row / params.kernel_h % params.channels;
    let chunk = row / params.kernel_h / params.channels;
    let end = min((chunk + 1u) * params.line, params.lines);
    var total = 0.0;
    for (var line = chunk * params.line; line < end; line++) {
        let sy = line % params.y_h * params.stride_h + shift_y;
        if sy >= params.x_h {
            continue;
        }
        let image = line / params.y_h * params.channels + channel;
        let read = (image * params.y_h + line % params.y_h) * params.y_w;
        let source = (image / params.multiplier * params.x_h + sy) * params.x_w;
        for (var px = 0u; px < params.y_w; px++) {
            let sx = px * params.stride_w + shift_x;
            if sx < params.x_w {
                total += dy[read + px] * x[source + sx];
            }
        }
    }
    partial[own] = total;
}
