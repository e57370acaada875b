// conv/subgroup   y[b, o, p] = Σ over taps t and channels c of w[o, t, c]·x[b, source(p, t), c] (+ bias[o])
// Reference  src/ops/conv/mod.rs
// Layout     x: f32 [B, H, W, C], w: f32 [O, kh, kw, C/groups], C/groups a multiple of four; bias: f32 [O];
//            y: f32 [B, O, P], P the next multiple of four from H'·W' on; all dense
// Bindings   0 params uniform · 1 w read · 2 x read · 3 bias read · 4 y read_write
// Mapping    an implicit matrix product: rows are output channels of a group, columns all positions of all images,
//            terms taps × channels; workgroup = subgroup = tile of 16 rows by 8·LANES columns; groups fold into
//            grid y
// Tiles      each invocation 16×8 outputs in registers. A lane loads four channels of every LANES-th row of w and the
//            subgroup passes them round. Workgroup memory 512·LANES bytes
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
    plane: u32, // P
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

// Each lane has its own part, and no lane looks at another's.
var<workgroup> kept: array<vec4<f32>, 32u * LANES>;

// Four columns, which are of one image: that image, the position of the first in its plane of y, and where in x the
// windows of all begin. If TRANSPOSED that is in strides, of which `rest` is what remains.
struct Columns {
    image: u32,
    p: u32,
    sy: vec4<u32>,
    sx: vec4<u32>,
    rest_y: vec4<u32>,
    rest_x: vec4<u32>,
}

// What a tap reads for four columns: pixels of x, the first where there is nothing to read.
struct Taps {
    pixel: vec4<u32>,
    inside: vec4<bool>,
}

fn columns(first: u32) -> Columns {
    // A plane has whole fours; what is behind its last line is computed like another line. Columns beyond the edge
    // repeat the last ones.
    let n = min(first, params.columns - 4u);
    let image = n / params.plane;
    let p = n - image * params.plane;
    let line = p / params.y_w;
    var py = vec4(line);
    var px = vec4(p - line * params.y_w) + vec4(0u, 1u, 2u, 3u);
    // Lines may be as short as one position.
    for (var k = 0u; k < 3u; k++) {
        let beyond = px >= vec4(params.y_w);
        px -= select(vec4<u32>(), vec4(params.y_w), beyond);
        py += select(vec4<u32>(), vec4(1u), beyond);
    }
    // Before the image's first row or column numbers wrap to ones beyond its last.
    if TRANSPOSED {
        let y = py + params.padding_h;
        let x = px + params.padding_w;
        let sy = y / params.stride_h;
        let sx = x / params.stride_w;
        return Columns(image, p, sy, sx, y - sy * params.stride_h, x - sx * params.stride_w);
    }
    let none = vec4<u32>();
    return Columns(
        image,
        p,
        py * params.stride_h - params.padding_h,
        px * params.stride_w - params.padding_w,
        none,
        none,
    );
}

// Tap i of a window's height, j of its width.
fn taps(c: Columns, i: u32, j: u32) -> Taps {
    let down = i * params.dilation_h;
    let right = j * params.dilation_w;
    var sy = c.sy + down;
    var sx = c.sx + right;
    var whole = vec4(true);
    if TRANSPOSED {
        // In strides, which is where a window begins only if nothing remains.
        let strides_y = down / params.stride_h;
        let strides_x = right / params.stride_w;
        sy = c.sy - strides_y;
        sx = c.sx - strides_x;
        whole = (c.rest_y == vec4(down - strides_y * params.stride_h))
            & (c.rest_x == vec4(right - strides_x * params.stride_w));
    }
    let inside = whole & (sy < vec4(params.x_h)) & (sx < vec4(params.x_w));
    let first = c.image * (params.x_h * params.x_w);
    return Taps(select(vec4<u32>(), first + sy * params.x_w + sx, inside), inside);
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
    // Rows beyond the edge repeat the last one; neither they nor such columns are stored.
    let near = columns(n0);
    let far = columns(n0 + 4u * LANES);
    let fours = params.channels / 4u;
    let all_taps = params.kernel_h * params.kernel_w;
    let last = params.rows - 1u;
    var low = (g * params.rows + min(m0 + lane, last)) * all_taps * fours;
    var high = (g * params.rows + min(m0 + 8u + lane, last)) * all_taps * fours;
    var near_sum: array<vec4<f32>, 16>;
    var far_sum: array<vec4<f32>, 16>;
    for (var i = 0u; i < params.kernel_h; i++) {
        for (var j = 0u; j < params.kernel_w; j++) {
            let near_taps = taps(near, i, j);
            let far_taps = taps(far, i, j);
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
    }
    let all_rows = params.groups * params.rows;
    let to = To(
        g * params.rows,
        near.image * all_rows * params.plane + near.p,
        far.image * all_rows * params.plane + far.p,
        n0 < params.columns,
        n0 + 4u * LANES < params.columns,
    );
    keep(0u, lane, near_sum[0], far_sum[0]);
    keep(1u, lane, near_sum[1], far_sum[1]);
    keep(2u, lane, near_sum[2], far_sum[2]);
    keep(3u, lane, near_sum[3], far_sum[3]);
    keep(4u, lane, near_sum[4], far_sum[4]);
    keep(5u, lane, near_sum[5], far_sum[5]);
    keep(6u, lane, near_sum[6], far_sum[6]);
    keep(7u, lane, near_sum[7], far_sum[7]);
    keep(8u, lane, near_sum[8], far_sum[8]);
    keep(9u, lane, near_sum[9], far_sum[9]);
    keep(10u, lane, near_sum[10], far_sum[10]);
    keep(11u, lane, near_sum[11], far_sum[11]);
    keep(12u, lane, near_sum[12], far_sum[12]);
    keep(13u, lane, near_sum[13], far_sum[13]);
    keep(14u, lane, near_sum[14], far_sum[14]);
    keep(15u, lane, near_sum[15], far_sum[15]);
    for (var row = 0u; row < rows_to_store(lane); row++) {
        if m0 + row < params.rows {
            store(to, m0 + row, row * (2u * LANES) + lane);
        }
    }
}

// Puts a row of sums where a loop can store them: stores take long to compile, and 16 times as many as long again.
fn keep(row: u32, lane: u32, near: vec4<f32>, far: vec4<f32>) {
    kept[row * (2u * LANES) + lane] = near;
    if WIDE {
        kept[row * (2u * LANES) + LANES + lane] = far;
    }
}

// Where a lane's columns are stored: the first channel of the group, and for either four where it begins in channel
// zero of its image, if it is there.
struct To {
    channel: u32,
    near: u32,
    far: u32,
    near_there: bool,
    far_there: bool,
}

fn store(to: To, m: u32, at: u32) {
    let channel = to.channel + m;
    var shift = 0.0;
    if params.bias == 1u {
        shift = bias[channel];
    }
    let first = channel * params.plane;
    if to.near_there {
        y[(to.near + first) / 4u] = kept[at] + shift;
    }
    if WIDE && to.far_there {
        y[(to.far + first) / 4u] = kept[at + LANES] + shift;
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

// ROWS, which no compiler is to know: for a loop that stores rows. Unrolled, stores take as long to compile as the sums;
// and where parameters say how often a loop turns, llvmpipe's driver may compile the kernel anew at each launch.
fn rows_to_store(lane: u32) -> u32 {
    return ROWS + (lane >> 31u);
}
