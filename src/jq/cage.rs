//! What a child may not do, told to the kernel before anything from outside is read.

use std::io;
use std::{fs, process, thread};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, setrlimit};

/// What an expression may take beyond what the program has when it starts, bytes. An
/// event of 1 MiB takes up to 16 times its length; the rest is for what is made of it.
const MEMORY: u64 = 512 << 20;

/// Shuts this process in: its memory is bounded, it can open no file and no socket,
/// leaves no core, is the first to go when memory is short, and ends with the gateway.
pub(super) fn shut() -> io::Result<()> {
    end_with_the_gateway()?;
    // Not where the kernel has no such file; nothing else depends on it.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let memory = address_space()? + MEMORY;
    limit(Resource::As, memory)?;
    limit(Resource::Core, 0)?;
    // Standard input, output and error.
    limit(Resource::Nofile, 3)
}

fn limit(resource: Resource, most: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    Ok(setrlimit(resource, limit)?)
}

/// This process's address space, bytes: proc(5), the first field of `statm`, in pages.
fn address_space() -> io::Result<u64> {
    let sizes = fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = sizes.split(' ').next().and_then(|first| first.parse().ok());
    let pages = pages.ok_or_else(|| io::Error::other("/proc/self/statm cannot be read"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Watches for the end of who writes to standard input, also while an expression
/// runs. `PR_SET_PDEATHSIG` would act when the thread that started us ends.
fn end_with_the_gateway() -> io::Result<()> {
    let watch = || {
        let stdin = io::stdin();
        // Nothing is asked for: a hang-up is told anyway, and only that.
        let mut input = [PollFd::new(&stdin, PollFlags::empty())];
        while poll(&mut input, None).is_err() {}
        process::exit(0);
    };
    thread::Builder::new().stack_size(64 << 10).spawn(watch)?;
    Ok(())
}
