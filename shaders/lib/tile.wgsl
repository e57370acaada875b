// tile    what every kernel on subgroups does with a tile of 16 rows by 8·LANES columns: the inner product, and stores
//
// Use        functions, copied word for word into the kernels that have the constants

const LANES: u32 = 8u; // or 16
const ROWS: u32 = 16u; // of a tile that hold results: at most 1, 4, 8 or 16

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
