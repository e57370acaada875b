// triangular   the x with T·x = b, T being the lower or upper triangle of a matrix or of its transpose
// Reference    src/ops/linalg/triangular.rs
// Layout       t: f32 [matrices, n, n], of which the one triangle alone is read; b, x: f32 [matrices, n, m]
// Bindings     0 params uniform · 1 t read · 2 b read · 3 x read_write
// Mapping      invocation = column of b; groups of 64 fold into grid y
// Tiles        none
// Numerics     f32; each sum is in the order in which the rows are solved
// Barriers     none: an invocation reads of x what it wrote itself, here or in the dispatch before
// Turns        from `first` to before `last`: llvmpipe leaves a loop after 65 535 turns of all loops of an
//              invocation together, so a large matrix takes several dispatches

const BACKWARDS: bool = false; // the last row first: T is upper

struct Params {
    n: u32,
    m: u32,
    columns: u32, // of all matrices
    row: u32, // strides of T
    column: u32,
    first: u32, // the turns of this dispatch; those before were taken by others
    last: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;

// The row that is solved at a turn.
fn at(turn: u32) -> u32 {
    if BACKWARDS {
        return params.n - 1u - turn;
    }
    return turn;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let id = (group.y * groups.x + group.x) * 64u + local;
    if id >= params.columns {
        return;
    }
    let matrix = id / params.m * params.n;
    let first = matrix * params.m + id % params.m;
    for (var turn = params.first; turn < params.last; turn++) {
        let i = at(turn);
        let row = matrix * params.n + i * params.row;
        var sum = b[first + i * params.m];
        for (var known = 0u; known < turn; known++) {
            let k = at(known);
            sum -= t[row + k * params.column] * x[first + k * params.m];
        }
        x[first + i * params.m] = sum / t[row + i * params.column];
    }
}
