use gradus::verify::*;
fn main() -> gradus::Result<()> {
    let filter = std::env::args().nth(1).unwrap_or_default();
    mutate_shaders(&std::env::args().nth(2).unwrap_or("auto".into()), &gradus::ops::rooms(), &filter, |r| {
        println!("{} {} mutants {} killed {:.1}s", r.shader, r.mutants, r.killed, r.seconds);
        for f in &r.unexplained { println!("{}\t{f}\t", r.shader); }
    })?;
    Ok(())
}
