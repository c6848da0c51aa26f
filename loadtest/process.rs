//! A child process on its own core, and what the kernel says it used.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::affinity;

/// A process under measurement; ended when dropped.
pub(crate) struct Subject(Child);

impl Subject {
    /// Starts `command` on the subject's core, its messages in `log`.
    pub(crate) fn start(command: Command, log: &Path) -> anyhow::Result<Self> {
        Self::start_on(affinity::SUBJECT, command, log)
    }

    /// Starts `command` on `core`, its messages in `log`.
    pub(crate) fn start_on(core: usize, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(log)?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        affinity::move_to(core);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"));
        affinity::move_to(affinity::LOAD);
        Ok(Self(child?))
    }

    /// Waits until the process listens on `address`.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if TcpStream::connect(address).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("the process under test ended with {status}");
            }
            thread::sleep(Duration::from_millis(20));
        }
        bail!("nothing listens on {address} after 20 s")
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let proc = Path::new("/proc").join(self.0.id().to_string());
        let stat = std::fs::read_to_string(proc.join("stat"))?;
        // After the command's name in brackets: state is field 3, utime 14, stime 15.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|f| f.parse::<u64>().ok());
        let (Some(user), Some(system)) = (ticks(14), ticks(15)) else {
            bail!("cannot read the CPU time in {}", proc.display());
        };
        let per_second = rustix::param::clock_ticks_per_second() as f64;
        let status = std::fs::read_to_string(proc.join("status"))?;
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|kib| kib.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or_default();
        Ok(Usage {
            cpu_seconds: (user + system) as f64 / per_second,
            peak_bytes: peak << 10,
        })
    }
}

impl Subject {
    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> anyhow::Result<()> {
        let pid = rustix::process::Pid::from_child(&self.0);
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    /// Ends it as a power switch would end the program: SIGKILL.
    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let until = Instant::now() + Duration::from_secs(30);
        while Instant::now() < until && matches!(self.0.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a process used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// User and system time.
    pub(crate) cpu_seconds: f64,
    /// Largest resident set.
    pub(crate) peak_bytes: u64,
}

/// CPU seconds that anybody used on this machine since it booted, all cores.
pub(crate) fn machine_cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let busy: u64 = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .enumerate()
        // user nice system idle iowait irq softirq steal: all but idle and iowait
        .filter(|(i, _)| ![3, 4].contains(i) && *i < 8)
        .filter_map(|(_, ticks)| ticks.parse::<u64>().ok())
        .sum();
    busy as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds of this process.
pub(crate) fn own_cpu_seconds() -> f64 {
    let spec = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spec.tv_sec as f64 + spec.tv_nsec as f64 / 1e9
}

/// A loopback address that is free now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
