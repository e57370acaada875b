// conv/forward   y[b, o, p] = Σ over channels c and taps t of w[o, c, t]·x[b, c, source(p, t)] (+ bias[o])
// Reference  src/ops/conv/mod.rs
// Layout     x: f32 [B, C, H, W]; w: f32 [O, C/groups, kh, kw]; y: f32 [B, O, H', W'], all dense
// Bindings   0 params uniform · 1 w read · 2 x read · 3 bias read · 4 y read_write
// Mapping    an implicit matrix product: rows are output channels of a group, columns all positions of all
//            images, terms taps × channels; workgroup = 8·WY rows by 8·WX columns; groups fold into grid y
// Tiles      WX × WY invocations, each 8×8 outputs in registers; no workgroup memory
// Numerics   f32; each output sums tap by tap, channels innermost; taps outside the image add zero
// Barriers   none
//
// With TRANSPOSED the same product runs backwards, y the gradient of an input from that of an output x:
// rows are input channels, and a tap reaches the output position whose window put it there.

const TRANSPOSED: bool = false;
const BIAS: bool = false;
const WX: u32 = 8u;
const WY: u32 = 8u;

const NOWHERE: u32 = 0xffffffffu;

struct Params {
    rows: u32, // of one group
    columns: u32,
    channels: u32, // summed over, of one group
    tiles: u32, // workgroups that have work
    groups: u32,
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
    w_row: u32, // strides of w
    w_channel: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;

// Four columns: where their image begins in x, and their position in the plane of y.
struct Columns {
    image: vec4<u32>,
    py: vec4<u32>,
    px: vec4<u32>,
}

// What a tap reads for four columns: positions in the plane of x, zero where there is nothing to read.
struct Taps {
    at: vec4<u32>,
    inside: vec4<bool>,
}

fn columns(first: u32, group: u32) -> Columns {
    let n = min(vec4(first) + WX * vec4(0u, 1u, 2u, 3u), vec4(params.columns - 1u));
    let plane = params.y_h * params.y_w;
    let image = (n / plane * params.groups + group) * (params.channels * params.x_h * params.x_w);
    let p = n % plane;
    return Columns(image, p / params.y_w, p % params.y_w);
}

fn taps(c: Columns, i: u32, j: u32) -> Taps {
    // Before the image's first row or column the subtraction wraps to a number beyond its last.
    var sy: vec4<u32>;
    var sx: vec4<u32>;
    var inside: vec4<bool>;
    if TRANSPOSED {
        let ty = c.py + params.padding_h - i * params.dilation_h;
        let tx = c.px + params.padding_w - j * params.dilation_w;
        sy = ty / params.stride_h;
        sx = tx / params.stride_w;
        let whole = (ty % params.stride_h == vec4<u32>()) & (tx % params.stride_w == vec4<u32>());
        inside = whole & (sy < vec4(params.x_h)) & (sx < vec4(params.x_w));
    } else {
        sy = c.py * params.stride_h + i * params.dilation_h - params.padding_h;
        sx = c.px * params.stride_w + j * params.dilation_w - params.padding_w;
        inside = (sy < vec4(params.x_h)) & (sx < vec4(params.x_w));
    }
    return Taps(c.image + select(vec4<u32>(), sy * params.x_w + sx, inside), inside);
}

@compute @workgroup_size(WX, WY)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.columns + 8u * WX - 1u) / (8u * WX);
    let tiles_m = (params.rows + 8u * WY - 1u) / (8u * WY);
    let g = tile / tiles_n / tiles_m;
    let m0 = tile / tiles_n % tiles_m * (8u * WY) + local.y * 8u;
    let n0 = tile % tiles_n * (8u * WX) + local.x;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let left_columns = columns(n0, g);
    let right_columns = columns(n0 + 4u * WX, g);
    let taps_of_row = params.kernel_h * params.kernel_w;
    // Zero, which no compiler knows: where the parameters say that a loop turns once or twice, llvmpipe's driver would
    // unroll it, and compile the kernel anew, at each launch.
    let zero = local.x >> 31u;
    let group_weights = g * params.rows * params.channels * taps_of_row;
    let last = vec4(params.rows - 1u);
    let row_low = group_weights + params.w_row * min(vec4(m0) + vec4(0u, 1u, 2u, 3u), last);
    let row_high = group_weights + params.w_row * min(vec4(m0) + vec4(4u, 5u, 6u, 7u), last);
    var left0 = vec4<f32>();
    var right0 = vec4<f32>();
    var left1 = vec4<f32>();
    var right1 = vec4<f32>();
    var left2 = vec4<f32>();
    var right2 = vec4<f32>();
    var left3 = vec4<f32>();
    var right3 = vec4<f32>();
    var left4 = vec4<f32>();
    var right4 = vec4<f32>();
    var left5 = vec4<f32>();
    var right5 = vec4<f32>();
    var left6 = vec4<f32>();
    var right6 = vec4<f32>();
    var left7 = vec4<f32>();
    var right7 = vec4<f32>();
    for (var tap = 0u; tap < taps_of_row + zero; tap++) {
        let left_taps = taps(left_columns, tap / params.kernel_w, tap % params.kernel_w);
        let right_taps = taps(right_columns, tap / params.kernel_w, tap % params.kernel_w);
        var left = left_taps.at;
        var right = right_taps.at;
        var low = row_low + tap;
        var high = row_high + tap;
        for (var c = 0u; c < params.channels + zero; c++) {
            let near = vec4(x[left.x], x[left.y], x[left.z], x[left.w]);
            let far = vec4(x[right.x], x[right.y], x[right.z], x[right.w]);
            let a = select(vec4<f32>(), near, left_taps.inside);
            let b = select(vec4<f32>(), far, right_taps.inside);
            let w0 = w[low.x];
            left0 += w0 * a;
            right0 += w0 * b;
            let w1 = w[low.y];
            left1 += w1 * a;
            right1 += w1 * b;
            let w2 = w[low.z];
            left2 += w2 * a;
            right2 += w2 * b;
            let w3 = w[low.w];
            left3 += w3 * a;
            right3 += w3 * b;
            let w4 = w[high.x];
            left4 += w4 * a;
            right4 += w4 * b;
            let w5 = w[high.y];
            left5 += w5 * a;
            right5 += w5 * b;
            let w6 = w[high.z];
            left6 += w6 * a;
            right6 += w6 * b;
            let w7 = w[high.w];
            left7 += w7 * a;
            right7 += w7 * b;
            left += params.x_h * params.x_w;
            right += params.x_h * params.x_w;
            low += params.w_channel;
            high += params.w_channel;
        }
    }
    let left_to = places(n0);
    let right_to = places(n0 + 4u * WX);
    let end = min(8u, params.rows - min(m0, params.rows));
    if end > 0u {
        store(g * params.rows + m0 + 0u, left_to, right_to, left0, right0);
    }
    if end > 1u {
        store(g * params.rows + m0 + 1u, left_to, right_to, left1, right1);
    }
    if end > 2u {
        store(g * params.rows + m0 + 2u, left_to, right_to, left2, right2);
    }
    if end > 3u {
        store(g * params.rows + m0 + 3u, left_to, right_to, left3, right3);
    }
    if end > 4u {
        store(g * params.rows + m0 + 4u, left_to, right_to, left4, right4);
    }
    if end > 5u {
        store(g * params.rows + m0 + 5u, left_to, right_to, left5, right5);
    }
    if end > 6u {
        store(g * params.rows + m0 + 6u, left_to, right_to, left6, right6);
    }
    if end > 7u {
        store(g * params.rows + m0 + 7u, left_to, right_to, left7, right7);
    }
}

// Where four columns are in the first channel of y; beyond the edge nowhere.
fn places(first: u32) -> vec4<u32> {
    let n = vec4(first) + WX * vec4(0u, 1u, 2u, 3u);
    let plane = params.y_h * params.y_w;
    let image = n / plane;
    let place = image * (params.groups * params.rows * plane) + (n - image * plane);
    return select(vec4(NOWHERE), place, n < vec4(params.columns));
}

fn store(channel: u32, left_to: vec4<u32>, right_to: vec4<u32>, left: vec4<f32>, right: vec4<f32>) {
    var shift = 0.0;
    if BIAS {
        shift = bias[channel];
    }
    let first = channel * params.y_h * params.y_w;
    for (var j = 0u; j < 4u; j++) {
        store_one(first, left_to[j], left[j] + shift);
        store_one(first, right_to[j], right[j] + shift);
    }
}

fn store_one(first: u32, place: u32, value: f32) {
    if place != NOWHERE {
        y[first + place] = value;
    }
}
