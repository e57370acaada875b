use gradus::verify::*;
fn main() -> gradus::Result<()> {
    env_logger::init();
    let filter = std::env::args().nth(1).unwrap_or_default();
    let bench = Bench::open(&std::env::args().nth(2).unwrap_or("auto".into()))?;
    println!("{}", bench.name);
    verify(&bench, &gradus::ops::rooms(), &filter, |r| {
        println!("{:10} {:?} {} cases {} failed share {:.4} err {:.2e} {:.2}s", r.op, r.direction, r.cases, r.failed, r.worst_share, r.worst_error, r.seconds);
        for f in &r.failures { println!("    {f}"); }
    });
    Ok(())
}
