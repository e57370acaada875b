// non_finite   y[lane] = how many of x[lane], x[lane + 256], … are infinite or not a number
// Reference  src/optim/loss_scaler.rs
// Layout     x: f32 [count] read as its bits, dense; y: i32 [256], dense
// Bindings   0 params uniform · 1 x read · 2 y read_write
// Mapping    one workgroup of 256 invocations, one an element of y
// Numerics   integers. A device may take for granted that no float is infinite or NaN, so none is looked at:
//            such a number has all bits of its exponent set
// Barriers   none

const LANES: u32 = 256u;

struct Params {
    first: u32, // of the elements of this launch, a multiple of 256; those before them were counted before
    last: u32, // behind them
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<i32>;

@compute @workgroup_size(LANES)
fn main(@builtin(local_invocation_index) local: u32) {
    var found = 0;
    if params.first > 0u {
        found = y[local];
    }
    for (var i = params.first + local; i < params.last; i += LANES) {
        if (x[i] & 0x7f800000u) == 0x7f800000u {
            found++;
        }
    }
    y[local] = found;
}
