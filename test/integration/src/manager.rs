//! The manager, as a process.

use crate::{
    Object, TestEnv, paths,
    process::{Process, free_port},
    shipped::{KUBEVIRT, NESTED},
    test_env::CLUSTER,
};
use capn_api::{KubevirtCluster, KubevirtMachine, NestedControlPlane};
use kube::ResourceExt;
use serde_json::json;
use std::{
    fs,
    process::ExitStatus,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How a manager is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// Value of `--controllers`: one provider, whose shipped rights the manager has.
    pub controllers: &'static str,
    /// Whether it watches the test's namespace alone. Another test's objects are none of its
    /// business, so turn this off with care.
    pub one_namespace: bool,
    /// Further arguments.
    pub args: Vec<String>,
    /// Port of the API server on 127.0.0.1, when it is not the environment's own.
    pub port: Option<u16>,
    /// User that it is; one of its own by default.
    pub user: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controllers: "nested",
            one_namespace: true,
            args: vec!["--leader-elect=false".into()],
            port: None,
            user: None,
        }
    }
}

impl Options {
    /// Takes part in a leader election in the test's namespace.
    #[must_use]
    pub fn candidate(self, env: &TestEnv) -> Self {
        let namespace = format!("--leader-election-namespace={}", env.namespace);
        Self {
            args: vec!["--leader-elect".into(), namespace],
            ..self
        }
    }
}

/// A manager that runs; killed when this is dropped.
#[derive(Debug)]
pub struct Manager {
    process: Process,
    /// User name that the API server knows it by.
    pub user: String,
    health: u16,
    controllers: &'static str,
}

/// Group of the users that hold the shipped rights of this provider.
pub(crate) fn group(controllers: &str) -> &'static str {
    match controllers {
        "nested" => NESTED,
        "kubevirt" => KUBEVIRT,
        other => panic!("there is no provider {other:?}"),
    }
}

impl Manager {
    /// Starts the control plane provider for the namespace of `env`, and waits until it serves.
    pub async fn start(env: &TestEnv) -> Self {
        Self::start_with(env, Options::default()).await
    }

    /// Starts a manager, and waits until it serves.
    pub async fn start_with(env: &TestEnv, options: Options) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let user = options.user.unwrap_or_else(|| format!("manager-{number}"));
        let environment = env.environment;
        let port = options.port.unwrap_or_else(|| environment.port());
        let kubeconfig = environment.kubeconfig(&user, group(options.controllers), port);
        let path = environment.folder.join(format!("manager-{number}.kubeconfig"));
        fs::write(&path, kubeconfig.to_string()).expect("the folder cannot be written");
        let log = environment.folder.join(format!("manager-{number}.log"));
        let health = free_port();
        let process = Process::start(&paths::manager(), &log, |command| {
            command
                .env("KUBECONFIG", &path)
                .env("RUST_BACKTRACE", "1")
                .env("LOG_LEVEL", "info,capn_controllers=debug");
            command.args([
                "--controllers",
                options.controllers,
                "--health-addr",
                &format!("127.0.0.1:{health}"),
            ]);
            if options.one_namespace {
                command.args(["--namespace", &env.namespace]);
            }
            command.args(&options.args);
        });
        env.logs.lock().expect("logs").push(log);
        let manager = Self {
            process,
            user,
            health,
            controllers: options.controllers,
        };
        env.wait("the manager to serve /healthz", async || {
            manager.assert_runs();
            manager.http("/healthz").await
        })
        .await;
        manager
    }

    /// Fails the test when the manager has ended by itself.
    pub fn assert_runs(&self) {
        let ended = self.process.ended();
        assert!(
            ended.is_none(),
            "the manager ended with {ended:?}:\n{}",
            self.process.last_words()
        );
    }

    /// Ends it as a crash would.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// The most memory that it has held so far, in MiB.
    pub fn most_memory(&self) -> u64 {
        self.process.most_memory()
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&self) -> ExitStatus {
        self.process.terminate()
    }

    /// How many passes over objects of a kind it has ended.
    pub async fn passes(&self, kind: &str) -> u64 {
        let metrics = self.metrics().await;
        let label = format!("kind=\"{kind}\"");
        let counts = metrics
            .lines()
            .filter(|line| line.contains("reconcile_total{") && line.contains(&label));
        counts
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Makes the manager look at all its objects of `env` once more.
    pub async fn look_again(&self, env: &TestEnv) {
        if self.controllers == "nested" {
            return self.look_again_at::<NestedControlPlane>(env, CLUSTER).await;
        }
        for cluster in env.list::<KubevirtCluster>().await {
            self.look_again_at::<KubevirtCluster>(env, &cluster.name_any()).await;
        }
        for machine in env.list::<KubevirtMachine>().await {
            self.look_again_at::<KubevirtMachine>(env, &machine.name_any()).await;
        }
    }

    /// Changes an annotation of an object that means nothing, and waits until the manager has made
    /// a whole pass over it.
    pub async fn look_again_at<K: Object>(&self, env: &TestEnv, name: &str) {
        static TOUCHES: AtomicU32 = AtomicU32::new(0);
        // The first pass that ends may have begun before the change; the second has not.
        for _ in 0..2 {
            let before = self.passes(&K::kind(&())).await;
            let number = TOUCHES.fetch_add(1, Ordering::Relaxed).to_string();
            let patch = json!({"metadata": {"annotations": {"example.com/touched": number}}});
            env.merge::<K>(name, &patch).await;
            env.wait("the manager to look again", async || {
                (self.passes(&K::kind(&())).await > before).then_some(())
            })
            .await;
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.process.log).expect("the log cannot be read")
    }

    /// What it answers on /metrics.
    pub async fn metrics(&self) -> String {
        self.http("/metrics").await.expect("the manager serves no /metrics")
    }

    /// What it answers on /readyz, its status line included.
    pub async fn readiness(&self) -> String {
        self.answer("/readyz").await.expect("the manager serves no /readyz")
    }

    async fn http(&self, path: &str) -> Option<String> {
        let answer = self.answer(path).await;
        answer.filter(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    async fn answer(&self, path: &str) -> Option<String> {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.health)).await.ok()?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: manager\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            Some(answer)
        };
        tokio::time::timeout(Duration::from_secs(10), ask).await.ok()?
    }
}
