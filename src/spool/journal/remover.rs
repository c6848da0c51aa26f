//! Removes files away from the writers: giving back the blocks of a segment can
//! take a file system longer than a hundred syncs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

use super::files::Files;
use super::quarantine::remove_if_there;

/// What there is to do, in this order.
#[derive(Debug)]
enum Job {
    Remove(PathBuf),
    Answer(oneshot::Sender<()>),
}

/// Takes the jobs; the thread ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Remover(Sender<Job>);

impl Remover {
    /// With what its thread has to run.
    pub(super) fn new(files: Arc<dyn Files>) -> (Self, impl FnOnce() + Send + 'static) {
        let (sender, jobs) = channel();
        (Self(sender), move || run(&*files, &jobs))
    }

    /// Removes a file, soon. One that cannot be removed stays until a later start.
    pub(super) fn remove(&self, path: PathBuf) {
        self.tell(Job::Remove(path));
    }

    /// Answers when all that came before is done.
    pub(super) fn answer(&self, done: oneshot::Sender<()>) {
        self.tell(Job::Answer(done));
    }

    fn tell(&self, job: Job) {
        // The thread ends after the last sender, unless it panicked: then files
        // stay, which the next start finds.
        let _ = self.0.send(job);
    }
}

fn run(files: &dyn Files, jobs: &Receiver<Job>) {
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Remove(path) => {
                if let Err(error) = remove_if_there(files, &path) {
                    tracing::warn!(path = %path.display(), %error, "a settled segment cannot be removed; it stays until a restart");
                }
            }
            Job::Answer(done) => {
                // A caller that stopped waiting does not want to know.
                let _ = done.send(());
            }
        }
    }
}
