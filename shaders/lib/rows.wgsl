// rows    what the lanes of a workgroup that share rows, 64, eight or one to a row, have found together
//
// Use        functions, copied word for word into the kernels that have the constants and the room

const LANES: u32 = 64u; // of a row
const GROUP: u32 = 64u;

// Each lane's maximum, each lane's sum, and eight of whichever is being combined.
var<workgroup> partial: array<f32, 136>;

fn combine_eight(start: u32, maximum: bool) -> f32 {
    var all = partial[start];
    for (var k = 1u; k < 8u; k++) {
        let other = partial[start + k];
        all = select(all + other, max(all, other), maximum);
    }
    return all;
}

// The maximum or the sum of what a row's lanes hold, for all of them. Eight by eight instead of in halves:
// a barrier costs more than a few additions, on a software adapter by far.
fn combine_lanes(local: u32, value: f32, maximum: bool) -> f32 {
    if LANES == 1u {
        return value;
    }
    // A place of its own for either, so that neither call waits for readers of the other.
    let place = select(GROUP, 0u, maximum);
    partial[place + local] = value;
    workgroupBarrier();
    if LANES == 8u {
        return combine_eight(place + local / 8u * 8u, maximum);
    }
    if local < 8u {
        partial[2u * GROUP + local] = combine_eight(place + local * 8u, maximum);
    }
    workgroupBarrier();
    return combine_eight(2u * GROUP, maximum);
}
