// conv/weight_gradient   dw[o, c, i, j] = Σ over images and positions of dy[b, o, p]·x[b, c, source(p, i, j)]
// Reference  src/ops/conv/mod.rs
// Layout     dy: f32 [B, O, H', W']; x: f32 [B, C, H, W], dense; partial: f32 [chunks, O, C/groups, kh, kw]
// Bindings   0 params uniform · 1 dy read · 2 x read · 3 partial read_write
// Mapping    rows are output channels of a group, columns its (c, i, j), terms the lines (b, y') of all
//            images, cut into chunks that a second pass adds; workgroup = 8·WY rows by 8·WX columns of WZ
//            chunks; groups fold into grid y
// Tiles      WX × WY × WZ invocations, each 8×8 outputs in registers; no workgroup memory
// Numerics   f32; each output sums along lines, line after line
// Barriers   none

const WX: u32 = 8u;
const WY: u32 = 8u;
const WZ: u32 = 1u;

struct Params {
    rows: u32, // of one group
    columns: u32,
    lines: u32,
    line: u32, // lines of a chunk
    chunks: u32,
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

// Four columns: the plane of their channel, and the shift of their tap.
struct Columns {
    plane: vec4<u32>,
    shift_y: vec4<u32>,
    shift_x: vec4<u32>,
}

fn columns(first: u32) -> Columns {
    let n = min(vec4(first) + WX * vec4(0u, 1u, 2u, 3u), vec4(params.columns - 1u));
    let taps = params.kernel_h * params.kernel_w;
    let tap = n % taps;
    // Negative shifts wrap; adding a position brings them back, or leaves them beyond the image.
    return Columns(
        n / taps * (params.x_h * params.x_w),
        tap / params.kernel_w * params.dilation_h - params.padding_h,
        tap % params.kernel_w * params.dilation_w - params.padding_w,
    );
}

@compute @workgroup_size(WX, WY, WZ)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
) {
    let tile = group.y * groups.x + group.x;
    let tiles_n = (params.columns + 8u * WX - 1u) / (8u * WX);
    let tiles_m = (params.rows + 8u * WY - 1u) / (8u * WY);
    let g = tile / tiles_n / tiles_m % params.groups;
    let chunk = tile / tiles_n / tiles_m / params.groups * WZ + local.z;
    if chunk >= params.chunks {
        return;
    }
    let m0 = tile / tiles_n % tiles_m * (8u * WY) + local.y * 8u;
    let n0 = tile % tiles_n * (8u * WX) + local.x;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    let left_columns = columns(n0);
    let right_columns = columns(n0 + 4u * WX);
    let plane = params.y_h * params.y_w;
    let last = vec4(params.rows - 1u);
    let row_low = plane * min(vec4(m0) + vec4(0u, 1u, 2u, 3u), last);
    let row_high = plane * min(vec4(m0) + vec4(4u, 5u, 6u, 7u), last);
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
    // Zero, which no compiler knows: where the parameters say that a loop turns once or twice, llvmpipe's driver would
    // unroll it, and compile the kernel anew, at each launch.
    let zero = local.x >> 31u;
    let end = min((chunk + 1u) * params.line, params.lines);
    for (var line = chunk * params.line; line < end; line++) {
        let image = line / params.y_h * params.groups + g;
        let py = line % params.y_h;
        let start = image * params.rows * plane + py * params.y_w;
        let base = image * params.channels * params.x_h * params.x_w;
        let left_y = py * params.stride_h + left_columns.shift_y;
        let right_y = py * params.stride_h + right_columns.shift_y;
        let left_inside = left_y < vec4(params.x_h);
        let right_inside = right_y < vec4(params.x_h);
        let left_line = base + left_columns.plane + select(vec4<u32>(), left_y * params.x_w, left_inside);
        let right_line = base + right_columns.plane + select(vec4<u32>(), right_y * params.x_w, right_inside);
        for (var px = 0u; px < params.y_w + zero; px++) {
            let left_x = px * params.stride_w + left_columns.shift_x;
            let right_x = px * params.stride_w + right_columns.shift_x;
            let left_in = left_inside & (left_x < vec4(params.x_w));
            let right_in = right_inside & (right_x < vec4(params.x_w));
            let left = left_line + select(vec4<u32>(), left_x, left_in);
            let right = right_line + select(vec4<u32>(), right_x, right_in);
            let a = select(vec4<f32>(), vec4(x[left.x], x[left.y], x[left.z], x[left.w]), left_in);
            let b = select(vec4<f32>(), vec4(x[right.x], x[right.y], x[right.z], x[right.w]), right_in);
            let low = start + px + row_low;
            let high = start + px + row_high;
            let g0 = dy[low.x];
            left0 += g0 * a;
            right0 += g0 * b;
            let g1 = dy[low.y];
            left1 += g1 * a;
            right1 += g1 * b;
            let g2 = dy[low.z];
            left2 += g2 * a;
            right2 += g2 * b;
            let g3 = dy[low.w];
            left3 += g3 * a;
            right3 += g3 * b;
            let g4 = dy[high.x];
            left4 += g4 * a;
            right4 += g4 * b;
            let g5 = dy[high.y];
            left5 += g5 * a;
            right5 += g5 * b;
            let g6 = dy[high.z];
            left6 += g6 * a;
            right6 += g6 * b;
            let g7 = dy[high.w];
            left7 += g7 * a;
            right7 += g7 * b;
        }
    }
    let first = (chunk * params.groups + g) * params.rows;
    store(first, m0, n0, left0, right0);
    store(first, m0 + 1u, n0, left1, right1);
    store(first, m0 + 2u, n0, left2, right2);
    store(first, m0 + 3u, n0, left3, right3);
    store(first, m0 + 4u, n0, left4, right4);
    store(first, m0 + 5u, n0, left5, right5);
    store(first, m0 + 6u, n0, left6, right6);
    store(first, m0 + 7u, n0, left7, right7);
}

fn store(first: u32, m: u32, n: u32, left: vec4<f32>, right: vec4<f32>) {
    if m >= params.rows {
        return;
    }
    let row = (first + m) * params.columns;
    for (var j = 0u; j < 4u; j++) {
        if n + WX * j < params.columns {
            partial[row + n + WX * j] = left[j];
        }
        if n + WX * (j + 4u) < params.columns {
            partial[row + n + WX * (j + 4u)] = right[j];
        }
    }
}
