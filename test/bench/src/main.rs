//! Times tenants' starts on a lab against a bare start of etcd and kube-apiserver: the same
//! programs, flags, certificates and disk, measured in turn. Figures are never a pass or fail.

mod bare;
mod tenant;

use clap::{Parser, Subcommand};
use futures::future::try_join_all;
use std::{error::Error, path::PathBuf, time::Duration};
use tenant::{LOOK_AT_MANY, Tenants, Volume};

/// Anything that ends a measurement.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Times tenants' starts on the lab that KUBECONFIG names.
#[derive(Debug, Parser)]
struct Args {
    /// Folder that pods of the lab and this program both see under the same path.
    #[arg(long)]
    volumes: PathBuf,
    /// Folder with kube-apiserver.
    #[arg(long)]
    kubernetes: PathBuf,
    /// Folder with etcd.
    #[arg(long)]
    etcd: PathBuf,
    /// Kubernetes version of the tenants.
    #[arg(long)]
    version: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One tenant after the other.
    Boot {
        /// Runs of each kind.
        #[arg(long, default_value_t = 5)]
        runs: usize,
    },
    /// Many at once.
    Many {
        /// How many.
        #[arg(long, default_value_t = 20)]
        tenants: usize,
    },
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let mut tenants = Tenants::new(args.volumes.clone(), args.version.clone()).await?;
    // The first tenant pays for what is cached later, and lends the bare start its flags.
    let model = tenants.start("bench-model", Volume::Ready).await?;
    let bare = bare::Bare::of(&tenants, &model, &args.kubernetes, &args.etcd).await?;
    match args.what {
        What::Boot { runs } => boot(&tenants, &bare, runs).await,
        What::Many { tenants: count } => {
            tenants.look = LOOK_AT_MANY;
            many(&tenants, &bare, count).await
        }
    }
}

async fn boot(tenants: &Tenants, bare: &bare::Bare, runs: usize) -> Result<(), Failure> {
    let (mut bares, mut ready, mut dynamic) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bound, mut placed) = (Vec::new(), Vec::new());
    tenants.remove(&["bench-model".into()]).await?;
    for run in 0..runs {
        bares.push(bare.start().await?);
        let name = format!("bench-ready-{run}");
        ready.push(tenants.start(&name, Volume::Ready).await?.took);
        tenants.remove(&[name]).await?;
        let name = format!("bench-dynamic-{run}");
        let started = tenants.start(&name, Volume::Dynamic).await?;
        dynamic.push(started.took);
        bound.push(started.volume.bound);
        placed.push(started.volume.placed);
        tenants.remove(&[name]).await?;
        println!(
            "run {}: bare {}, volume there {}, dynamic volume {} of which the volume {} (bound after {})",
            run + 1,
            last(&bares),
            last(&ready),
            last(&dynamic),
            last(&placed),
            last(&bound)
        );
    }
    println!("bare start                       {}", spread(&bares));
    println!("tenant, volume there             {}", spread(&ready));
    println!("tenant, dynamic volume           {}", spread(&dynamic));
    println!("of which the volume              {}", spread(&placed));
    println!("    until it was bound           {}", spread(&bound));
    let ratio = |times: &[Duration]| median(times).as_secs_f64() / median(&bares).as_secs_f64();
    let without = |volume: &[Duration]| {
        let rest = dynamic
            .iter()
            .zip(volume)
            .map(|(all, volume)| all.saturating_sub(*volume));
        ratio(&rest.collect::<Vec<_>>())
    };
    println!("ratio without the volume's time  {:.2}", without(&placed));
    println!("    until it was bound           {:.2}", without(&bound));
    println!("ratio {:.2}", ratio(&ready));
    Ok(())
}

async fn many(tenants: &Tenants, bare: &bare::Bare, count: usize) -> Result<(), Failure> {
    tenants.remove(&["bench-model".into()]).await?;
    let mut bares = Vec::new();
    for _ in 0..count {
        bares.push(bare.start().await?);
    }
    let names: Vec<_> = (0..count).map(|n| format!("bench-many-{n}")).collect();
    let started = try_join_all(names.iter().map(|name| tenants.start(name, Volume::Ready))).await?;
    let took: Vec<_> = started.iter().map(|started| started.took).collect();
    let all = took.iter().max().copied().unwrap_or_default();
    let in_turn: Duration = bares.iter().sum();
    println!("bare start                 {}", spread(&bares));
    println!("{count} of them in turn         {:.1} s", in_turn.as_secs_f64());
    println!(
        "first of {count} tenants ready   {:.1} s",
        took.iter().min().copied().unwrap_or_default().as_secs_f64()
    );
    println!("all {count} tenants ready        {:.1} s", all.as_secs_f64());
    let restarts = tenants.restarts().await?;
    println!("container restarts         {}", restarts.len());
    for restart in restarts {
        println!("    {restart}");
    }
    let left = tenants.remove(&names).await?;
    println!(
        "nothing left               {:.1} s after the last pod's end",
        left.as_secs_f64()
    );
    println!("ratio {:.2}", all.as_secs_f64() / in_turn.as_secs_f64());
    Ok(())
}

fn last(times: &[Duration]) -> String {
    times
        .last()
        .map_or_else(String::new, |time| format!("{:.2} s", time.as_secs_f64()))
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn spread(times: &[Duration]) -> String {
    let seconds = |time: Option<&Duration>| time.map_or(0.0, Duration::as_secs_f64);
    format!(
        "median {:.2} s, {:.2} to {:.2}",
        median(times).as_secs_f64(),
        seconds(times.iter().min()),
        seconds(times.iter().max())
    )
}
