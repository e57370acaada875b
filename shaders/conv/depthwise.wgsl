// conv/depthwise   y[b, c·m + r, p] = Σ over taps t of w[c·m + r, t]·x[b, c, source(p, t)] (+ bias[c·m + r])
// Reference  src/ops/conv/mod.rs
// Layout     x: f32 [B, C, H, W]; w: f32 [C·m, kh, kw]; y: f32 [B, C·m, H', W'], all dense
// Bindings   0 params uniform · 1 w read · 2 x read · 3 bias read · 4 y read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   f32; row by row of the kernel; taps outside the image add nothing
// Barriers   none
//
// With TRANSPOSED it runs backwards, y [B, C, H', W'] the gradient of an input from that of an output x
// [B, C·m, H, W]: a tap reaches the output position whose window put it there, in each of the m channels.

const TRANSPOSED: bool = false;
const BIAS: bool = false;
const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    channels: u32, // of y
    multiplier: u32, // m
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
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Where along an axis a tap reads for a position; beyond any extent where it reads nothing: before the first
// place the subtraction wraps.
fn place(position: u32, shift: u32, stride: u32, padding: u32) -> u32 {
    if TRANSPOSED {
        let at = position + padding - shift;
        return select(0xffffffffu, at / stride, at % stride == 0u);
    }
    return position * stride + shift - padding;
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
    let line = own / params.y_w;
    let px = own % params.y_w;
    let py = line % params.y_h;
    let image = line / params.y_h;
    let channel = image % params.channels;
    var row = channel;
    var source = image / params.multiplier;
    var terms = 1u;
    if TRANSPOSED {
        row = channel * params.multiplier;
        source = image * params.multiplier;
        terms = params.multiplier;
    }
    var total = 0.0;
    for (var r = 0u; r < terms; r++) {
        for (var i = 0u; i < params.kernel_h; i++) {
            let sy = place(py, i * params.dilation_h, params.stride_h, params.padding_h);
            if sy >= params.x_h {
                continue;
            }
            for (var j = 0u; j < params.kernel_w; j++) {
                let sx = place(px, j * params.dilation_w, params.stride_w, params.padding_w);
                if sx < params.x_w {
                    let weight = w[((row + r) * params.kernel_h + i) * params.kernel_w + j];
                    total += weight * x[((source + r) * params.x_h + sy) * params.x_w + sx];
                }
            }
        }
    }
    if BIAS {
        total += bias[channel];
    }
    y[own] = total;
}
