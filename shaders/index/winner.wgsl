// winner   of base[o,v,i] and all x[o,j,i] with indices[o,j,i] = v: the last, the largest or the smallest;
//          y its value, source its place: v, or extent + j
// Reference  src/ops/index/winner.rs
// Layout     base, y, source: [outer, extent, inner]; x, indices, order: [outer, chosen, inner]; base, x and y
//            f32 or, where the last wins, i32; the others i32; dense. order sorts each line of indices,
//            equal ones as they come
// Bindings   0 params uniform · 1 base read · 2 x read · 3 indices read · 4 order read · 5 y read_write ·
//            6 source read_write
// Mapping    one invocation an output; more than 65535 groups fold into grid y
// Numerics   comparisons and copies of words: exact; of equal values base wins, then the first
// Barriers   none

const LARGEST: bool = false;
const SMALLEST: bool = false;
const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    extent: u32,
    chosen: u32,
    inner: u32,
    first: u32, // of an element's candidates in this launch; those before them were looked at before
    last: u32, // behind them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> base: array<u32>;
@group(0) @binding(2) var<storage, read> x: array<u32>;
@group(0) @binding(3) var<storage, read> indices: array<i32>;
@group(0) @binding(4) var<storage, read> order: array<i32>;
@group(0) @binding(5) var<storage, read_write> y: array<u32>;
@group(0) @binding(6) var<storage, read_write> source: array<i32>;

fn wins(later: f32, kept: f32) -> bool {
    if LARGEST {
        return later > kept;
    }
    if SMALLEST {
        return later < kept;
    }
    return true;
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
    let row = own / params.inner;
    let wanted = i32(row % params.extent);
    let line = row / params.extent * params.chosen * params.inner + own % params.inner;
    // The first place in the order whose index is not below v.
    var low = 0u;
    var high = params.chosen;
    while low < high {
        let middle = (low + high) / 2u;
        let j = u32(order[line + middle * params.inner]);
        if indices[line + j * params.inner] < wanted {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    var value = base[own];
    var origin = wanted;
    if params.first > 0u {
        value = y[own];
        origin = source[own];
    }
    for (var k = low + params.first; k < min(low + params.last, params.chosen); k++) {
        let j = u32(order[line + k * params.inner]);
        if indices[line + j * params.inner] != wanted {
            break;
        }
        let found = x[line + j * params.inner];
        if wins(bitcast<f32>(found), bitcast<f32>(value)) {
            value = found;
            origin = i32(params.extent + j);
        }
    }
    y[own] = value;
    source[own] = origin;
}
