// conv/subgroup   y[b, o, p] = Σ over taps t and channels c of w[o, t, c]·x[b, source(p, t), c] (+ bias[o])
// Reference  src/ops/conv/mod.rs
// Layout     x: f32 [B, H, W, C], w: f32 [O, kh, kw, C/groups], C/groups a multiple of four; bias: f32 [O];
//            y: f32 [B, O, H', W'], H'·W' a multiple of four; all dense
// Bindings   0 params uniform · 1 w read · 2 x read · 3 bias read · 4 y read_write
// Mapping    an implicit matrix product: rows are output channels of a group, columns all positions of all images,
//            terms taps × channels; workgroup = subgroup = tile of 16 rows by 8·LANES columns; groups fold into
//            grid y
// Tiles      each invocation 16×8 outputs in registers. A lane loads four channels of every LANES-th row of w and the
//            subgroup passes them round; no workgroup memory
// Numerics   f32; each output sums tap by tap, four channels at a time; taps outside the image add zero
// Barriers   none; a whole subgroup leaves or stays together, LANES is the size of every subgroup
//
// Backwards y is the gradient of an input from that of an output x: rows are input channels, and a tap reaches the
// output position whose window put it there. Where strides are one it does with negative padding and dilation, as
// u32 wrap, otherwise with TRANSPOSED.
//
// The specification wants `enable subgroups;` here, which naga does not take yet and does not need
// (https://github.com/gfx-rs/wgpu/issues/5555).

const TRANSPOSED: bool = false;
const LANES: u32 = 8u; // or 16
const ROWS: u32 = 16u; // of a tile that hold results: at most 1, 4, 8 or 16
const WIDE: bool = true; // whether there are more than 4·LANES columns

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
    bias: u32, // one if there is one
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;

// Four columns: the first pixel of their image in x, and their position in the plane of y.
struct Columns {
    image: vec4<u32>,
    py: vec4<u32>,
    px: vec4<u32>,
}

// What a tap reads for four columns: pixels of x, the first where there is nothing to read.
struct Taps {
    pixel: vec4<u32>,
    inside: vec4<bool>,
}

fn columns(first: u32) -> Columns {
    let n = min(vec4(first) + vec4(0u, 1u, 2u, 3u), vec4(params.columns - 1u));
    let plane = params.y_h * params.y_w;
    let p = n % plane;
    return Columns(n / plane * (params.x_h * params.x_w), p / params.y_w, p % params.y_w);
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
    return Taps(select(vec4<u32>(), c.image + sy * params.x_w + sx, inside), inside);
}

// Four channels of four columns: a column of the result is a channel.
fn channels(at: vec4<u32>, inside: vec4<bool>) -> mat4x4<f32> {
    let all = transpose(mat4x4(x[at.x], x[at.y], x[at.z], x[at.w]));
    let zero = vec4<f32>();
    return mat4x4(
        select(zero, all[0], inside),
        select(zero, all[1], inside),
        select(zero, all[2], inside),
        select(zero, all[3], inside),
    );
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.columns + 8u * LANES - 1u) / (8u * LANES);
    let tiles_m = (params.rows + 15u) / 16u;
    let g = tile / tiles_m / tiles_n;
    let m0 = tile % tiles_m * 16u;
    let n0 = tile / tiles_m % tiles_n * (8u * LANES) + 4u * lane;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let near = columns(n0);
    let far = columns(n0 + 4u * LANES);
    let fours = params.channels / 4u;
    let all_taps = params.kernel_h * params.kernel_w;
    let last = params.rows - 1u;
    var low = (g * params.rows + min(m0 + lane, last)) * all_taps * fours;
    var high = (g * params.rows + min(m0 + 8u + lane, last)) * all_taps * fours;
    var near_sum: array<vec4<f32>, 16>;
    var far_sum: array<vec4<f32>, 16>;
    for (var tap = 0u; tap < all_taps; tap++) {
        let near_taps = taps(near, tap / params.kernel_w, tap % params.kernel_w);
        let far_taps = taps(far, tap / params.kernel_w, tap % params.kernel_w);
        let near_first = (near_taps.pixel * params.groups + g) * fours;
        let far_first = (far_taps.pixel * params.groups + g) * fours;
        for (var c = 0u; c < fours; c++) {
            let a = w[low];
            var b = a;
            if ROWS == 16u && LANES == 8u {
                b = w[high];
            }
            accumulate(&near_sum, a, b, channels(near_first + c, near_taps.inside));
            if WIDE {
                accumulate(&far_sum, a, b, channels(far_first + c, far_taps.inside));
            }
            low++;
            high++;
        }
    }
    store(g, m0 + 0u, n0, near_sum[0], far_sum[0]);
    store(g, m0 + 1u, n0, near_sum[1], far_sum[1]);
    store(g, m0 + 2u, n0, near_sum[2], far_sum[2]);
    store(g, m0 + 3u, n0, near_sum[3], far_sum[3]);
    store(g, m0 + 4u, n0, near_sum[4], far_sum[4]);
    store(g, m0 + 5u, n0, near_sum[5], far_sum[5]);
    store(g, m0 + 6u, n0, near_sum[6], far_sum[6]);
    store(g, m0 + 7u, n0, near_sum[7], far_sum[7]);
    store(g, m0 + 8u, n0, near_sum[8], far_sum[8]);
    store(g, m0 + 9u, n0, near_sum[9], far_sum[9]);
    store(g, m0 + 10u, n0, near_sum[10], far_sum[10]);
    store(g, m0 + 11u, n0, near_sum[11], far_sum[11]);
    store(g, m0 + 12u, n0, near_sum[12], far_sum[12]);
    store(g, m0 + 13u, n0, near_sum[13], far_sum[13]);
    store(g, m0 + 14u, n0, near_sum[14], far_sum[14]);
    store(g, m0 + 15u, n0, near_sum[15], far_sum[15]);
}

fn store(g: u32, m: u32, n: u32, near: vec4<f32>, far: vec4<f32>) {
    if m >= params.rows {
        return;
    }
    store_four(g * params.rows + m, n, near);
    if WIDE {
        store_four(g * params.rows + m, n + 4u * LANES, far);
    }
}

fn store_four(channel: u32, n: u32, value: vec4<f32>) {
    if n < params.columns {
        let plane = params.y_h * params.y_w;
        let at = ((n / plane * params.groups * params.rows + channel) * plane + n % plane) / 4u;
        if params.bias == 1u {
            y[at] = value + bias[channel];
        } else {
            y[at] = value;
        }
    }
}

// Adds to a tile of 16 rows by four columns a lane the products of four terms: those of row i are held by lane i of
// `low`, or from 8 on with 8 lanes by lane i − 8 of `high`, and those of the lane's own columns by `columns`.
fn accumulate(sum: ptr<function, array<vec4<f32>, 16>>, low: vec4<f32>, high: vec4<f32>, columns: mat4x4<f32>) {
    (*sum)[0] += columns * subgroupBroadcast(low, 0u);
    if ROWS == 1u {
        return;
    }
    (*sum)[1] += columns * subgroupBroadcast(low, 1u);
    (*sum)[2] += columns * subgroupBroadcast(low, 2u);
    (*sum)[3] += columns * subgroupBroadcast(low, 3u);
    if ROWS == 4u {
        return;
    }
    (*sum)[4] += columns * subgroupBroadcast(low, 4u);
    (*sum)[5] += columns * subgroupBroadcast(low, 5u);
    (*sum)[6] += columns * subgroupBroadcast(low, 6u);
    (*sum)[7] += columns * subgroupBroadcast(low, 7u);
    if ROWS == 8u {
        return;
    }
    let rest = select(low, high, vec4(LANES == 8u));
    (*sum)[8] += columns * subgroupBroadcast(rest, 8u % LANES);
    (*sum)[9] += columns * subgroupBroadcast(rest, 9u % LANES);
    (*sum)[10] += columns * subgroupBroadcast(rest, 10u % LANES);
    (*sum)[11] += columns * subgroupBroadcast(rest, 11u % LANES);
    (*sum)[12] += columns * subgroupBroadcast(rest, 12u % LANES);
    (*sum)[13] += columns * subgroupBroadcast(rest, 13u % LANES);
    (*sum)[14] += columns * subgroupBroadcast(rest, 14u % LANES);
    (*sum)[15] += columns * subgroupBroadcast(rest, 15u % LANES);
}
