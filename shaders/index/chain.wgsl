// chain   next[v] = the first j with indices[j] = v, for v < extent;
//         next[extent + j] = the first k > j with indices[k] = indices[j]; `chosen` where there is none
// Reference  src/ops/index.rs
// Layout     indices: i32 [chosen]; next: u32 [extent + chosen]; dense
// Bindings   0 params uniform · 1 indices read · 2 next read_write
// Mapping    one invocation an entry of next; more than 65535 groups fold into grid y
// Numerics   integers; at most (extent + chosen)·chosen comparisons in all
// Barriers   none

const GROUP: u32 = 64u;

struct Params {
    count: u32, // extent + chosen
    extent: u32,
    chosen: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> indices: array<i32>;
@group(0) @binding(2) var<storage, read_write> next: array<u32>;

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
    var wanted = i32(own);
    var j = 0u;
    if own >= params.extent {
        wanted = indices[own - params.extent];
        j = own - params.extent + 1u;
    }
    while j < params.chosen {
        if indices[j] == wanted {
            break;
        }
        j++;
    }
    next[own] = j;
}
