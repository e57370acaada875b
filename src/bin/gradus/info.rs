//! `gradus info`.

use crate::Cli;
use crate::bench::Roofline;
use gradus::{Device, Result, gpu::Gpu};

#[derive(clap::Args)]
pub struct Args {
    /// Also measure what the chosen device can do at most.
    #[arg(long)]
    measure: bool,
}

pub fn run(cli: &Cli, args: &Args) -> Result<bool> {
    let adapters = Gpu::adapters();
    let chosen = Device::select(&cli.device)?;
    let roofline = args.measure.then(|| Roofline::measure(&chosen)).transpose()?;
    if cli.json {
        let json = serde_json::json!({
            "adapters": adapters,
            "chosen": chosen.to_string(),
            "roofline": roofline,
        });
        println!("{json:#}");
        return Ok(true);
    }
    println!("chosen: {chosen}");
    if let Some(roofline) = roofline {
        println!("{roofline}");
    }
    for (number, a) in adapters.iter().enumerate() {
        println!("\n{number}: {}", a.name);
        println!("   {} adapter through {}, driver {}", a.kind, a.backend, a.driver);
        println!(
            "   subgroups of {} to {} lanes, workgroups of {} invocations and {} KiB",
            a.subgroup[0],
            a.subgroup[1],
            a.workgroup_invocations,
            a.workgroup_bytes / 1024
        );
        println!(
            "   {} MiB a buffer, f16 {}, timestamps {}",
            a.max_binding_bytes / (1 << 20),
            if a.f16 { "yes" } else { "no" },
            if a.timestamps { "yes" } else { "no" }
        );
    }
    if adapters.is_empty() {
        println!(
            "no adapter: install a Vulkan, Metal or DX12 driver (Debian: mesa-vulkan-drivers libvulkan1)"
        );
    }
    Ok(true)
}
