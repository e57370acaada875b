// conv/subgroup_weight   partial[z, o, t, c] = Σ over images and positions of chunk z of dy[b, o, p]·x[b, source(p, t), c]
// Reference  src/ops/conv/mod.rs
// Layout     dy: f32 [B, O, P], P the next multiple of four from H'·W' on, W' at least four, finite behind the last
//            line; x: f32 [B, H, W, C], C/groups a multiple of four; partial: f32 [chunks, O, kh, kw, C/groups]; all dense
// Bindings   0 params uniform · 1 dy read · 2 x read · 3 partial read_write
// Mapping    a matrix product: rows are output channels of a group, columns its taps × channels, terms the positions
//            of the images of a chunk; workgroup = subgroup = tile of 16 rows by 8·LANES columns of one chunk; groups
//            fold into grid y
// Tiles      each invocation 16×8 outputs in registers. A lane loads four positions of every LANES-th row of dy and
//            the subgroup passes them round. Workgroup memory 512·LANES bytes
// Numerics   f32; each output sums four positions at a time, image by image
// Barriers   none; a whole subgroup leaves or stays together, LANES is the size of every subgroup
//
// The specification wants `enable subgroups;` here, which naga does not take yet and does not need
// (https://github.com/gfx-rs/wgpu/issues/5555).

const LANES: u32 = 8u; // or 16
const ROWS: u32 = 16u; // of a tile that hold results: at most 1, 4, 8 or 16
const WIDE: bool = true; // whether there are more than 4·LANES columns

struct Params {
    rows: u32, // of one group
    columns: u32,
    channels: u32, // of x, of one group
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
    images: u32,
    chunk: u32, // images of a chunk
    parts: u32, // of a plane, each of them a chunk
    part: u32, // fours of positions in a part
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>;

// Each lane has its own part, and no lane looks at another's.
var<workgroup> kept: array<vec4<f32>, 32u * LANES>;

// Four columns, channels of a tap: the four they are among those of a pixel, and the shift of their tap.
struct Columns {
    four: u32,
    shift_y: u32,
    shift_x: u32,
}

fn columns(first: u32, g: u32) -> Columns {
    let n = min(first, params.columns - 4u);
    let tap = n / params.channels;
    // Negative shifts wrap; adding a position brings them back, or leaves them beyond the image.
    return Columns(
        (g * params.channels + n % params.channels) / 4u,
        tap / params.kernel_w * params.dilation_h - params.padding_h,
        tap % params.kernel_w * params.dilation_w - params.padding_w,
    );
}

// What the columns have at four positions: a column of the result is a position.
fn pixels(c: Columns, image: u32, py: vec4<u32>, px: vec4<u32>) -> mat4x4<f32> {
    let sy = py * params.stride_h + c.shift_y;
    let sx = px * params.stride_w + c.shift_x;
    let inside = (py < vec4(params.y_h)) & (sy < vec4(params.x_h)) & (sx < vec4(params.x_w));
    let pixel = select(vec4<u32>(), image + sy * params.x_w + sx, inside);
    let at = pixel * (params.groups * params.channels / 4u) + c.four;
    let zero = vec4<f32>();
    return mat4x4(
        select(zero, x[at.x], vec4(inside.x)),
        select(zero, x[at.y], vec4(inside.y)),
        select(zero, x[at.z], vec4(inside.z)),
        select(zero, x[at.w], vec4(inside.w)),
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
    let chunk = tile / tiles_m / tiles_n / params.groups;
    let first_image = chunk / params.parts * params.chunk;
    let first_four = chunk % params.parts * params.part;
    let g = tile / tiles_m / tiles_n % params.groups;
    let m0 = tile % tiles_m * 16u;
    let n0 = tile / tiles_m % tiles_n * (8u * LANES) + 4u * lane;
    // Rows and columns beyond the edge repeat the last ones and are not stored.
    let near = columns(n0, g);
    let far = columns(n0 + 4u * LANES, g);
    let fours = (params.y_h * params.y_w + 3u) / 4u;
    let last = params.rows - 1u;
    let end_image = min(first_image + params.chunk, params.images);
    let end_four = min(first_four + params.part, fours);
    let line = 4u * first_four / params.y_w;
    var near_sum: array<vec4<f32>, 16>;
    var far_sum: array<vec4<f32>, 16>;
    for (var image = first_image; image < end_image; image++) {
        let first = (image * params.groups + g) * params.rows;
        let low = (first + min(m0 + lane, last)) * fours;
        let high = (first + min(m0 + 8u + lane, last)) * fours;
        let first_pixel = image * params.x_h * params.x_w;
        // Four positions may end in the next line, but not beyond it.
        var py = vec4(line);
        var px = vec4(4u * first_four - line * params.y_w) + vec4(0u, 1u, 2u, 3u);
        for (var p = first_four; p < end_four; p++) {
            let beyond = px >= vec4(params.y_w);
            px -= select(vec4<u32>(), vec4(params.y_w), beyond);
            py += select(vec4<u32>(), vec4(1u), beyond);
            let a = dy[low + p];
            var b = a;
            if ROWS == 16u && LANES == 8u {
                b = dy[high + p];
            }
            accumulate(&near_sum, a, b, pixels(near, first_pixel, py, px));
            if WIDE {
                accumulate(&far_sum, a, b, pixels(far, first_pixel, py, px));
            }
            px += vec4(4u);
        }
    }
    let to = (chunk * params.groups + g) * params.rows;
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
            store(to + m0 + row, n0, row * (2u * LANES) + lane);
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

fn store(row: u32, n: u32, at: u32) {
    let to = (row * params.columns + n) / 4u;
    if n < params.columns {
        partial[to] = kept[at];
    }
    if WIDE && n + 4u * LANES < params.columns {
        partial[to + LANES] = kept[at + LANES];
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
