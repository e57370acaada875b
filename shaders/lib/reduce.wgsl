// reduce    two results of one reduction as one
//
// Use        a function, copied word for word into the kernels that have the constant

const MAXIMUM: bool = false;

fn combine(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
    if MAXIMUM {
        return max(a, b);
    }
    return a + b;
}
