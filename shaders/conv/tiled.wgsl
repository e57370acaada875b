// tiled   y[b, o, p] = Σ over channels c and taps t of w[o, c, t]·x[b, c, source(p, t)] (+ bias[o])
// Reference  src/ops/conv/mod.rs
// Layout     x: f32 [B, C, H, W]; w: f32 [O, C/groups, kh, kw]; y: f32 [B, O, H', W'], all dense
// Bindings   0 params uniform · 1 w read · 2 x read · 3 bias read · 4 y read_write
// Mapping    an implicit matrix product: rows are output channels of a group, columns all positions of all
//            images, terms channels × taps; workgroup = ROWS·WY rows by 4·WX columns; groups fold into grid y
// Tiles      WX × WY = 64 invocations, each ROWS (4 or 8) × 4 outputs in registers; 8 terms at a time in workgroup memory, four
//            rows or columns to a word, a line of words longer than what it holds, so that lanes write to
//            different banks
// Numerics   f32; each output sums its terms in order, taps innermost; taps outside the image add zero
// Barriers   two a step of 8 terms; a whole group leaves or stays together
//
// With TRANSPOSED the same product runs backwards, y the gradient of an input from that of an output x:
// rows are input channels, and a tap reaches the output position whose window put it there. STRIDED is whether
// windows are more than one apart.

const TRANSPOSED: bool = false;
const STRIDED: bool = false;
const BIAS: bool = false;
const ROWS: u32 = 8u;

const WX: u32 = 16u;
const WY: u32 = 4u;
const STEP: u32 = 8u;
const ROW_FOURS: u32 = ROWS / 4u * WY;
const ROW_LINE: u32 = ROW_FOURS + 1u;
const COLUMN_LINE: u32 = WX + 1u;

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

var<workgroup> row_tile: array<vec4<f32>, STEP * ROW_LINE>; // 8 terms by ROWS·WY rows
var<workgroup> column_tile: array<vec4<f32>, STEP * COLUMN_LINE>; // 8 terms by 4·WX columns

// A channel and a tap.
struct Term {
    c: u32,
    i: u32,
    j: u32,
}

fn next(t: Term) -> Term {
    var n = Term(t.c, t.i, t.j + 1u);
    if n.j == params.kernel_w {
        n = Term(t.c, t.i + 1u, 0u);
        if n.i == params.kernel_h {
            n = Term(t.c + 1u, 0u, 0u);
        }
    }
    return n;
}

// What a term reads for a column: where its image begins in x, and its position in the plane of y.
fn source(place: vec3<u32>, t: Term) -> f32 {
    // Before the image's first row or column the subtraction wraps to a number beyond its last.
    var sy = place.y;
    var sx = place.z;
    var whole = true;
    if TRANSPOSED {
        sy += params.padding_h - t.i * params.dilation_h;
        sx += params.padding_w - t.j * params.dilation_w;
        if STRIDED {
            whole = sy % params.stride_h == 0u && sx % params.stride_w == 0u;
            sy /= params.stride_h;
            sx /= params.stride_w;
        }
    } else {
        if STRIDED {
            sy *= params.stride_h;
            sx *= params.stride_w;
        }
        sy += t.i * params.dilation_h - params.padding_h;
        sx += t.j * params.dilation_w - params.padding_w;
    }
    // Behind the last term there is no channel.
    let inside = whole && sy < params.x_h && sx < params.x_w && t.c < params.channels;
    let at = place.x + (t.c * params.x_h + sy) * params.x_w + sx;
    return select(0.0, x[select(0u, at, inside)], inside);
}

@compute @workgroup_size(WX, WY)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let tiles_n = (params.columns + 4u * WX - 1u) / (4u * WX);
    let tiles_m = (params.rows + ROWS * WY - 1u) / (ROWS * WY);
    let g = tile / tiles_n / tiles_m;
    let m0 = tile / tiles_n % tiles_m * (ROWS * WY);
    let n0 = tile % tiles_n * (4u * WX);
    let tx = local % WX;
    let ty = local / WX;
    let plane = params.y_h * params.y_w;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let column = min(n0 + local, params.columns - 1u);
    let image = (column / plane * params.groups + g) * (params.channels * params.x_h * params.x_w);
    let place = vec3(image, column % plane / params.y_w, column % params.y_w);
    let taps = params.kernel_h * params.kernel_w;
    let terms = params.channels * taps;
    let weights = g * params.rows * params.channels * taps;
    var row0 = vec4<f32>();
    var row1 = vec4<f32>();
    var row2 = vec4<f32>();
    var row3 = vec4<f32>();
    var row4 = vec4<f32>();
    var row5 = vec4<f32>();
    var row6 = vec4<f32>();
    var row7 = vec4<f32>();
    var t = Term(0u, 0u, 0u);
    for (var k0 = 0u; k0 < terms; k0 += STEP) {
        // Lanes read along the terms of a row, which are neighbours in w, and each its own of the 64 columns.
        let k = k0 + local % STEP;
        let weight = weights + k / taps * params.w_channel + k % taps;
        let four = local / STEP;
        if four < ROW_FOURS {
            let rows = min(vec4(m0 + 4u * four) + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1u));
            let at = select(vec4<u32>(), weight + rows * params.w_row, k < terms);
            let values = vec4(w[at.x], w[at.y], w[at.z], w[at.w]);
            row_tile[local % STEP * ROW_LINE + four] = select(vec4<f32>(), values, k < terms);
        }
        for (var line = 0u; line < STEP; line++) {
            column_tile[line * COLUMN_LINE + local / 4u][local % 4u] = source(place, t);
            t = next(t);
        }
        workgroupBarrier();
        for (var k = 0u; k < STEP; k++) {
            let low = row_tile[k * ROW_LINE + ty];
            let columns = column_tile[k * COLUMN_LINE + tx];
            row0 += low.x * columns;
            row1 += low.y * columns;
            row2 += low.z * columns;
            row3 += low.w * columns;
            if ROWS > 4u {
                let high = row_tile[k * ROW_LINE + WY + ty];
                row4 += high.x * columns;
                row5 += high.y * columns;
                row6 += high.z * columns;
                row7 += high.w * columns;
            }
        }
        workgroupBarrier();
    }
    let m = m0 + 4u * ty;
    let n = n0 + 4u * tx;
    store(g, m, n, row0);
    store(g, m + 1u, n, row1);
    store(g, m + 2u, n, row2);
    store(g, m + 3u, n, row3);
    if ROWS > 4u {
        store(g, m + 4u * WY, n, row4);
        store(g, m + 4u * WY + 1u, n, row5);
        store(g, m + 4u * WY + 2u, n, row6);
        store(g, m + 4u * WY + 3u, n, row7);
    }
}

fn store(g: u32, m: u32, n: u32, values: vec4<f32>) {
    let plane = params.y_h * params.y_w;
    let channel = g * params.rows + m;
    for (var j = 0u; j < 4u; j++) {
        let column = n + j;
        if m < params.rows && column < params.columns {
            let at = (column / plane * params.groups * params.rows + channel) * plane + column % plane;
            if BIAS {
                y[at] = values[j] + bias[channel];
            } else {
                y[at] = values[j];
            }
        }
    }
}
