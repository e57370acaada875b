// add   y[o,v,i] = Σ x[o,j,i] over the j with indices[j] = v, in their order: the transpose of select
// Reference  src/ops/index.rs
// Layout     x: f32 [outer, chosen, inner]; next: u32 [extent + chosen], from chain.wgsl;
//            y: f32 [outer, extent, inner]; dense
// Bindings   0 params uniform · 1 x read · 2 next read · 3 y read_write
// Mapping    one invocation an output walks the chain of its index: no two write one element, so no
//            atomics and one order of summation. More than 65535 groups fold into grid y
// Numerics   f32, j ascending; zero where no index is v
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // elements of y
    extent: u32,
    chosen: u32,
    inner: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> next: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

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
    let first = row / params.extent * params.chosen;
    var total = 0.0;
    var j = next[row % params.extent];
    while j < params.chosen {
        total += x[(first + j) * params.inner + own % params.inner];
        j = next[params.extent + j];
    }
    y[own] = total;
}
