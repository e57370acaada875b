// add   y[o,v,i] = Σ x[o,j,i] over the j with indices[o,j,i] = v, in their order: the transpose of gather
// Reference  src/ops/index/along.rs
// Layout     x: f32 [outer, chosen, inner]; y: f32 [outer, extent, inner], dense; indices and order: i32,
//            strides index_outer, index_step, index_inner: zero along what they do not depend on.
//            order sorts each line of indices, equal ones as they come; carry: f32, of y's shape, from one
//            launch to the next
// Bindings   0 params uniform · 1 x read · 2 indices read · 3 order read · 4 y · 5 carry read_write
// Mapping    one invocation an output finds its terms, which lie side by side in the order: no two write
//            one element, so no atomics and one order of summation. More than 65535 groups fold into grid y
// Numerics   f32, j ascending; zero where no index is v
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    extent: u32,
    chosen: u32,
    inner: u32,
    index_outer: u32,
    index_step: u32,
    index_inner: u32,
    first: u32, // of an element's terms in this launch; what is before them was added before
    last: u32, // behind them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> indices: array<i32>;
@group(0) @binding(3) var<storage, read> order: array<i32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> carry: array<f32>;

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
    let i = own % params.inner;
    let o = row / params.extent;
    let wanted = i32(row % params.extent);
    let line = o * params.index_outer + i * params.index_inner;
    // The first place in the order whose index is not below v.
    var low = 0u;
    var high = params.chosen;
    while low < high {
        let middle = (low + high) / 2u;
        let j = u32(order[line + middle * params.index_step]);
        if indices[line + j * params.index_step] < wanted {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    var total = 0.0;
    if params.first > 0u {
        total = carry[own];
    }
    for (var k = low + params.first; k < min(low + params.last, params.chosen); k++) {
        let j = u32(order[line + k * params.index_step]);
        if indices[line + j * params.index_step] != wanted {
            break;
        }
        total += x[(o * params.chosen + j) * params.inner + i];
    }
    if params.last < params.chosen {
        carry[own] = total;
    }
    y[own] = total;
}
