// tiled_weight   dw[o, c, i, j] = Σ over images and positions of dy[b, o, p]·x[b, c, source(p, i, j)]
// Reference  src/ops/conv/mod.rs
// Layout     dy: f32 [B, O, H', W']; x: f32 [B, C, H, W], dense; partial: f32 [chunks, O, C/groups, kh, kw]
// Bindings   0 params uniform · 1 dy read · 2 x read · 3 partial read_write
// Mapping    rows are output channels of a group, columns its (c, i, j), terms the positions of all images, cut
//            into chunks that a second pass adds; workgroup = ROWS·WY rows by 4·WX columns of one chunk; groups
//            fold into grid y
// Tiles      WX × WY = 64 invocations, each ROWS (4 or 8) × 4 outputs in registers; 8 terms at a time in workgroup
//            memory, four rows or columns to a word, a line of words longer than what it holds, so that lanes
//            write to different banks
// Numerics   f32; each output sums its terms in order; taps outside the image add zero
// Barriers   one to begin and two a step of 8 terms; a whole group leaves or stays together

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
    positions: u32, // of all images
    chunk: u32, // positions of a chunk
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
    channels: u32, // of x, of one group
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;

var<workgroup> row_tile: array<vec4<f32>, STEP * ROW_LINE>; // 8 terms by ROWS·WY rows
var<workgroup> column_tile: array<vec4<f32>, STEP * COLUMN_LINE>; // 8 terms by 4·WX columns
// Of each column: the plane of its channel, and the shift of its tap.
var<workgroup> places: array<vec3<u32>, 4u * WX>;

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
    let g = tile / tiles_n / tiles_m % params.groups;
    let chunk = tile / tiles_n / tiles_m / params.groups;
    let m0 = tile / tiles_n % tiles_m * (ROWS * WY);
    let n0 = tile % tiles_n * (4u * WX);
    let tx = local % WX;
    let ty = local / WX;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let taps = params.kernel_h * params.kernel_w;
    let column = min(n0 + local, params.columns - 1u);
    let tap = column % taps;
    // Negative shifts wrap; adding a position brings them back, or leaves them beyond the image.
    let shift_y = tap / params.kernel_w * params.dilation_h - params.padding_h;
    let shift_x = tap % params.kernel_w * params.dilation_w - params.padding_w;
    places[local] = vec3(column / taps * (params.x_h * params.x_w), shift_y, shift_x);
    workgroupBarrier();
    let plane = params.y_h * params.y_w;
    let end = min((chunk + 1u) * params.chunk, params.positions);
    var row0 = vec4<f32>();
    var row1 = vec4<f32>();
    var row2 = vec4<f32>();
    var row3 = vec4<f32>();
    var row4 = vec4<f32>();
    var row5 = vec4<f32>();
    var row6 = vec4<f32>();
    var row7 = vec4<f32>();
    for (var k0 = chunk * params.chunk; k0 < end; k0 += STEP) {
        // Lanes read along the positions, which are neighbours in both operands.
        let k = local % STEP;
        let open = k0 + k < end;
        let position = min(k0 + k, end - 1u);
        let image = position / plane * params.groups + g;
        let p = position % plane;
        let y_start = image * params.rows * plane + p;
        let x_start = image * params.channels * params.x_h * params.x_w;
        let corner = vec2(p / params.y_w * params.stride_h, p % params.y_w * params.stride_w);
        let row_four = local / STEP;
        if row_four < ROW_FOURS {
            let rows = min(vec4(m0 + 4u * row_four) + vec4(0u, 1u, 2u, 3u), vec4(params.rows - 1u));
            let at = y_start + rows * plane;
            row_tile[k * ROW_LINE + row_four] = select(vec4<f32>(), vec4(dy[at.x], dy[at.y], dy[at.z], dy[at.w]), open);
        }
        for (var four = row_four; four < WX; four += 64u / STEP) {
            var values: vec4<f32>;
            for (var j = 0u; j < 4u; j++) {
                let place = places[4u * four + j];
                let source = corner + place.yz;
                let inside = open && source.x < params.x_h && source.y < params.x_w;
                let at = x_start + place.x + source.x * params.x_w + source.y;
                values[j] = select(0.0, x[select(0u, at, inside)], inside);
            }
            column_tile[k * COLUMN_LINE + four] = values;
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
    let first = (chunk * params.groups + g) * params.rows;
    let m = m0 + 4u * ty;
    let n = n0 + 4u * tx;
    store(first, m, n, row0);
    store(first, m + 1u, n, row1);
    store(first, m + 2u, n, row2);
    store(first, m + 3u, n, row3);
    if ROWS > 4u {
        store(first, m + 4u * WY, n, row4);
        store(first, m + 4u * WY + 1u, n, row5);
        store(first, m + 4u * WY + 2u, n, row6);
        store(first, m + 4u * WY + 3u, n, row7);
    }
}

fn store(first: u32, m: u32, n: u32, values: vec4<f32>) {
    for (var j = 0u; j < 4u; j++) {
        if m < params.rows && n + j < params.columns {
            partial[(first + m) * params.columns + n + j] = values[j];
        }
    }
}
