// backward   one step back through a recurrent layer: what reaches h (and c) behind a step, from the output
//            there and from the gates of the step after it, and then the gradients of this step's gates:
//            dh = ds + dg′·Wᵀ + carry
//            tanh, relu   dg = dh·f′(h)
//            LSTM         dc = dsc + carry + dh·o·(1 − t²), t = tanh c; di = dc·g·i·(1 − i),
//                         df = dc·c₋·f·(1 − f), dg = dc·i·(1 − g²), do = dh·t·o·(1 − o); carry dc·f
//            GRU          dz = dh·(h₋ − n)·z·(1 − z), dn = dh·(1 − z)·(1 − n²), dq = dn·r,
//                         dr = dn·q·r·(1 − r); carry dh·z
// Reference  src/ops/recurrent/cell.rs
// Layout     w: f32 [GATES·H, H]; lengths: i32 [B]; ds, states: f32 [1 or 2, T + 1, B, H]; saved: f32
//            [T, B, SAVED·H] as forward.wgsl left it; dg: f32 [T, B, PLANES·H], the gates in the order of w, and
//            for a GRU r, z, q, n; carry: f32 [1 or 2, B, H], at the end the gradient of the initial state
// Bindings   0 params uniform · 1 w read · 2 lengths read · 3 ds read · 4 states read · 5 saved read
//            6 dg · 7 carry read_write
// Mapping    an invocation computes ROWS sequences × 4 hidden units LANES apart; workgroup = LANES of them;
//            groups fold into grid y
// Tiles      ROWS 1, 4 or 8, four sums each in registers; no workgroup memory
// Numerics   f32; each sum is in order of k
// Barriers   none. A launch reads one step of dg and writes another, and of carry an invocation its own alone

const CELL: u32 = 2u; // 0 tanh, 1 relu, 2 LSTM, 3 GRU
const SAVED: u32 = 5u; // 0, 0, 5, 4
const PLANES: u32 = 4u; // 1, 1, 4, 4
const LENGTHS: bool = false;
const ROWS: u32 = 8u;
const LANES: u32 = 16u;

struct Params {
    batch: u32,
    hidden: u32,
    tiles: u32, // workgroups that have work
    time: u32,
    before: u32, // where in states the h before the step begins
    after: u32, // and the one behind it
    cells: u32, // from an h to its c
    terms: u32, // of dg′·Wᵀ: none in the first launch, which has no step after it
    next: u32, // where in dg the step after this one begins
    last: u32, // one in the last launch, which has no step of its own
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> lengths: array<i32>;
@group(0) @binding(3) var<storage, read> ds: array<f32>;
@group(0) @binding(4) var<storage, read> states: array<f32>;
@group(0) @binding(5) var<storage, read> saved: array<f32>;
@group(0) @binding(6) var<storage, read_write> dg: array<f32>;
@group(0) @binding(7) var<storage, read_write> carry: array<f32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let tile = group.y * groups.x + group.x;
    if tile >= params.tiles {
        return;
    }
    let hidden = params.hidden;
    let tiles_h = (hidden + 4u * LANES - 1u) / (4u * LANES);
    let b = tile / tiles_h * ROWS;
    let j = tile % tiles_h * (4u * LANES) + local;
    // Rows and columns beyond the edge repeat the last one and are not stored.
    var at = min(vec4(j) + LANES * vec4(0u, 1u, 2u, 3u), vec4(hidden - 1u));
    let last = vec4(params.batch - 1u);
    var low = params.next + PLANES * hidden * min(vec4(b) + vec4(0u, 1u, 2u, 3u), last);
    var high = params.next + PLANES * hidden * min(vec4(b) + vec4(4u, 5u, 6u, 7u), last);
    var sum0 = vec4<f32>();
    var sum1 = vec4<f32>();
    var sum2 = vec4<f32>();
    var sum3 = vec4<f32>();
    var sum4 = vec4<f32>();
    var sum5 = vec4<f32>();
    var sum6 = vec4<f32>();
    var sum7 = vec4<f32>();
    for (var k = 0u; k < params.terms; k++) {
        let weight = vec4(w[at.x], w[at.y], w[at.z], w[at.w]);
        sum0 += dg[low.x] * weight;
        if ROWS > 1u {
            sum1 += dg[low.y] * weight;
            sum2 += dg[low.z] * weight;
            sum3 += dg[low.w] * weight;
        }
        if ROWS > 4u {
            sum4 += dg[high.x] * weight;
            sum5 += dg[high.y] * weight;
            sum6 += dg[high.z] * weight;
            sum7 += dg[high.w] * weight;
        }
        at += hidden;
        low += 1u;
        high += 1u;
    }
    // Loops whose ends no compiler knows are not unrolled, so that their body is compiled once; where the parameters
    // said it, llvmpipe's driver might compile the kernel anew at each launch. What is next moves to the front, where an
    // array would be in memory.
    for (var r = 0u; r < ROWS + (local >> 31u); r++) {
        if b + r < params.batch {
            var first = sum0;
            for (var c = 0u; c < 4u && j + LANES * c < hidden; c++) {
                unit(b + r, j + LANES * c, first.x);
                first = first.yzww;
            }
        }
        sum0 = sum1;
        sum1 = sum2;
        sum2 = sum3;
        sum3 = sum4;
        sum4 = sum5;
        sum5 = sum6;
        sum6 = sum7;
    }
}

// One hidden unit of one sequence, from dg′·Wᵀ.
fn unit(b: u32, j: u32, sum: f32) {
    let hidden = params.hidden;
    let here = b * hidden + j;
    let there = params.batch * hidden + here; // in carry, behind h
    let behind = params.after + here;
    var dh = ds[behind];
    var dc = 0.0;
    if CELL == 2u {
        dc = ds[params.cells + behind];
    }
    if params.terms > 0u {
        dh += sum + carry[here];
        if CELL == 2u {
            dc += carry[there];
        }
    }
    if params.last == 1u {
        carry[here] = dh;
        if CELL == 2u {
            carry[there] = dc;
        }
        return;
    }
    let step = params.time * params.batch + b;
    let source = step * (SAVED * hidden) + j;
    let to = step * (PLANES * hidden) + j;
    if LENGTHS {
        if i32(params.time) >= lengths[b] {
            // The step left the state as it was.
            for (var plane = 0u; plane < PLANES; plane++) {
                dg[to + plane * hidden] = 0.0;
            }
            carry[here] = dh;
            if CELL == 2u {
                carry[there] = dc;
            }
            return;
        }
    }
    if CELL == 0u {
        let h = states[behind];
        dg[to] = dh * (1.0 - h * h);
        carry[here] = 0.0;
    } else if CELL == 1u {
        dg[to] = select(0.0, dh, states[behind] > 0.0);
        carry[here] = 0.0;
    } else if CELL == 2u {
        let i = saved[source];
        let f = saved[source + hidden];
        let g = saved[source + 2u * hidden];
        let o = saved[source + 3u * hidden];
        let t = saved[source + 4u * hidden];
        dc += dh * o * (1.0 - t * t);
        dg[to] = dc * g * (i * (1.0 - i));
        dg[to + hidden] = dc * states[params.cells + params.before + here] * (f * (1.0 - f));
        dg[to + 2u * hidden] = dc * i * (1.0 - g * g);
        dg[to + 3u * hidden] = dh * t * (o * (1.0 - o));
        carry[here] = 0.0;
        carry[there] = dc * f;
    } else {
        let r = saved[source];
        let z = saved[source + hidden];
        let n = saved[source + 2u * hidden];
        let dn = dh * (1.0 - z) * (1.0 - n * n);
        dg[to] = dn * saved[source + 3u * hidden] * (r * (1.0 - r));
        dg[to + hidden] = dh * (states[params.before + here] - n) * (z * (1.0 - z));
        dg[to + 2u * hidden] = dn * r;
        dg[to + 3u * hidden] = dn;
        carry[here] = dh * z;
    }
}
