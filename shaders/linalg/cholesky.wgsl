// cholesky   the lower triangular L with L·Lᵀ = A, a matrix at a time, column after column
// Reference  src/ops/linalg/cholesky.rs
// Layout     a, l: f32 [matrices, n, n], row-major, of a the lower triangle alone is read; info: i32 [matrices],
//            zero, or the number from one of the first column whose pivot is not positive
// Bindings   0 params uniform · 1 a read · 2 l · 3 info read_write
// Mapping    workgroup = matrix; in each column a lane computes every LANES-th row; groups fold into grid y
// Tiles      LANES; no workgroup memory, so n is bounded by patience alone
// Numerics   f32; each sum is in order of k. A pivot that is not positive counts as one, so that what follows
//            stays finite
// Barriers   one a column, reached by every lane: the next column reads this one
// Columns    from `first` to before `last`; those before were computed by other dispatches. llvmpipe leaves a loop
//            after 65 535 turns of all loops of an invocation together, so a large matrix takes several

const LANES: u32 = 64u;

struct Params {
    n: u32,
    matrices: u32,
    first: u32,
    last: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read_write> l: array<f32>;
@group(0) @binding(3) var<storage, read_write> info: array<i32>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let matrix = group.y * groups.x + group.x;
    if matrix >= params.matrices {
        return;
    }
    let n = params.n;
    let base = matrix * n * n;
    var failed = 0u;
    if params.first > 0u {
        failed = u32(info[matrix]);
    }
    for (var j = params.first; j < params.last; j++) {
        // Every lane computes the pivot for itself, which costs less than a second barrier.
        let row_j = base + j * n;
        var pivot = a[row_j + j];
        for (var k = 0u; k < j; k++) {
            pivot -= l[row_j + k] * l[row_j + k];
        }
        if !(pivot > 0.0) {
            if failed == 0u {
                failed = j + 1u;
            }
            pivot = 1.0;
        }
        let diagonal = sqrt(pivot);
        for (var i = local; i < n; i += LANES) {
            let row_i = base + i * n;
            var value = 0.0;
            if i == j {
                value = diagonal;
            } else if i > j {
                var sum = a[row_i + j];
                for (var k = 0u; k < j; k++) {
                    sum -= l[row_i + k] * l[row_j + k];
                }
                value = sum / diagonal;
            }
            l[row_i + j] = value;
        }
        storageBarrier();
    }
    if local == 0u {
        info[matrix] = i32(failed);
    }
}
