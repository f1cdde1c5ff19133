//! Programs that run beside the tests. They end with the value that stands for them, and at the
//! latest with the test binary, however that ends.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
};

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Process {
    child: Mutex<Child>,
    pub(crate) log: PathBuf,
}

type Order = (Command, Sender<std::io::Result<Child>>);

/// Linux ends a child when the *thread* that started it ends, so all are started by one that stays.
fn starter() -> &'static Mutex<Sender<Order>> {
    static STARTER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    STARTER.get_or_init(|| {
        let (orders, work) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in work {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    })
}

impl Process {
    /// Starts `program` with its output in `log`, to which it appends.
    pub(crate) fn start(program: &Path, log: &Path, prepare: impl FnOnce(&mut Command)) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log cannot be written");
        // setpriv stands in for prctl(PR_SET_PDEATHSIG), which is unsafe code in Rust.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        prepare(&mut command);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("no second handle of the log"))
            .stderr(output);
        let (reply, child) = channel();
        starter()
            .lock()
            .expect("starter")
            .send((command, reply))
            .expect("starter ended");
        let child = child.recv().expect("starter ended").unwrap_or_else(|error| {
            panic!(
                "cannot start {} through setpriv (package util-linux): {error}",
                program.display()
            )
        });
        Self {
            child: Mutex::new(child),
            log: log.to_owned(),
        }
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().expect("child").try_wait().expect("child")
    }

    /// The most memory that it has held so far, in MiB.
    pub(crate) fn most_memory(&self) -> u64 {
        let id = self.child.lock().expect("child").id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("the process has ended");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.expect("Linux says VmHWM") / 1024
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(&self) {
        let mut child = self.child.lock().expect("child");
        // It may have ended by itself.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&self) -> ExitStatus {
        let mut child = self.child.lock().expect("child");
        let pid = child.id().to_string();
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill does not run");
        child.wait().expect("child")
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that is free and stays so until a server binds it: each is given once in this process, and
/// lies below those that the kernel gives to whoever connects or binds port 0.
pub(crate) fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 12_000..30_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let free = || {
        // Processes beside this one start elsewhere in the range.
        let number = std::process::id() * 97 + GIVEN.fetch_add(1, Ordering::Relaxed);
        let port =
            PORTS.start + u16::try_from(number % u32::from(PORTS.end - PORTS.start)).expect("smaller than a port");
        std::net::TcpListener::bind(("127.0.0.1", port)).ok().map(|_| port)
    };
    (0..100).find_map(|_| free()).expect("no port is free")
}

/// Removes a folder once this process has ended, however it ends: what waits for it is a shell at
/// the other end of a pipe.
pub(crate) fn remove_at_the_end(folder: &Path) {
    let mut command = Command::new("sh");
    // Other processes die at the same moment and may still write for a little.
    command
        .args(["-c", "read -r _; until rm -rf -- \"$0\"; do sleep 0.1; done"])
        .arg(folder);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().expect("sh does not run");
    // Its pipe must stay open as long as this process lives.
    std::mem::forget(child);
}
