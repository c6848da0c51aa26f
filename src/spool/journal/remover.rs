//! Removes files away from the writers: giving back the blocks of a segment can
//! take a file system longer than a hundred syncs.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::oneshot;

use super::files::Files;
use super::quarantine::remove_if_there;
use super::seldom::Seldom;

/// What there is to do, in this order.
#[derive(Debug)]
enum Job {
    Remove(PathBuf),
    GiveBack(Turn),
    Answer(oneshot::Sender<()>),
}

/// Takes the jobs; the thread ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Remover {
    jobs: Sender<Job>,
    turn_is_taken: Arc<AtomicBool>,
}

/// The right to remove a file because the disk is full. It goes through the jobs,
/// so that who gets it next sees a disk on which nothing is still being removed.
#[derive(Debug)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Remover {
    /// With what its thread has to run.
    pub(super) fn new(files: Arc<dyn Files>) -> (Self, impl FnOnce() + Send + 'static) {
        let (sender, jobs) = channel();
        let remover = Self {
            jobs: sender,
            turn_is_taken: Arc::default(),
        };
        (remover, move || run(&*files, &jobs))
    }

    /// `None`: somebody has it.
    pub(super) fn turn(&self) -> Option<Turn> {
        let is_free = !self.turn_is_taken.swap(true, Ordering::AcqRel);
        is_free.then(|| Turn(self.turn_is_taken.clone()))
    }

    /// Removes a file, soon. One that cannot be removed stays until a later start.
    pub(super) fn remove(&self, path: PathBuf) {
        self.tell(Job::Remove(path));
    }

    /// Somebody else may have it when all that came before is done.
    pub(super) fn give_back(&self, turn: Turn) {
        self.tell(Job::GiveBack(turn));
    }

    /// Answers when all that came before is done.
    pub(super) fn answer(&self, done: oneshot::Sender<()>) {
        self.tell(Job::Answer(done));
    }

    fn tell(&self, job: Job) {
        // The thread ends after the last sender, unless it panicked: then files
        // stay, which the next start finds.
        let _ = self.jobs.send(job);
    }
}

fn run(files: &dyn Files, jobs: &Receiver<Job>) {
    let mut says = Seldom::default();
    while let Ok(job) = jobs.recv() {
        match job {
            Job::GiveBack(turn) => drop(turn),
            Job::Remove(path) => {
                if let Err(error) = remove_if_there(files, &path)
                    && says.is_due()
                {
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
