//! All replays of a gateway, in the order in which they were asked for: what may become
//! of each, and the file that keeps them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Refused;
use super::job::{Job, State, Wanted};
use crate::batch::UnixMillis;
use crate::spool::ArchiveMark;

const FILE: &str = "replays.json";
/// Most that are over and still shown.
const REMEMBERED: usize = 20;
/// Most that are not over: each waits for those before it.
const MOST: usize = 100;

/// See the module.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Jobs {
    /// The number of the last one.
    last: u64,
    entries: Vec<Entry>,
}

/// A replay, and where it goes on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) job: Job,
    /// `None`: it was not counted.
    pub(super) mark: Option<ArchiveMark>,
}

/// What somebody may ask of a replay that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Stop for a while.
    Pause,
    /// Go on; after a dry run, send.
    Resume,
    /// Stop for good.
    Cancel,
}

impl Jobs {
    /// Begins one. Where there are too many, the oldest that has counted and that nobody had
    /// sent gives way: it waits for nothing, and can be asked for again.
    pub(super) fn add(&mut self, wanted: Wanted) -> Result<Job, Refused> {
        let open = self.entries.iter().filter(|e| !e.job.state.is_over());
        if open.count() >= MOST {
            let mut jobs = self.entries.iter_mut().map(|entry| &mut entry.job);
            let counted = jobs.find(|job| job.state == State::Counted);
            let counted = counted.ok_or(Refused::TooMany(MOST))?;
            counted.enter(State::Cancelled);
            counted.reason = Some("there were too many that had only counted".into());
        }
        self.last += 1;
        let job = Job::new(self.last, wanted);
        self.entries.push(Entry {
            job: job.clone(),
            mark: None,
        });
        self.forget_old();
        Ok(job)
    }

    /// Does what somebody asked.
    pub(super) fn command(&mut self, id: u64, command: Command) -> Result<Job, Refused> {
        let entry = self.get_mut(id).ok_or(Refused::Unknown(id))?;
        let job = &mut entry.job;
        let state = job.state;
        let next = match command {
            Command::Pause if !state.rests() => State::Paused,
            Command::Cancel if !state.is_over() => State::Cancelled,
            Command::Resume if state.rests() && !state.is_over() => State::Waiting,
            _ => return Err(Refused::Now(id, state)),
        };
        job.wanted.dry_run &= !(command == Command::Resume && state == State::Counted);
        job.enter(next);
        job.reason = None;
        let job = job.clone();
        self.forget_old();
        Ok(job)
    }

    /// The first that waits for its turn; it has it now.
    pub(super) fn begin_next(&mut self) -> Option<Entry> {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| entry.job.state == State::Waiting)?;
        let next = match entry.mark {
            None => State::Counting,
            Some(_) => State::Running,
        };
        entry.job.enter(next);
        entry.job.reason = None;
        Some(entry.clone())
    }

    pub(super) fn all(&self) -> Vec<Job> {
        self.entries.iter().map(|entry| entry.job.clone()).collect()
    }

    pub(super) fn get(&self, id: u64) -> Option<&Job> {
        let mut entries = self.entries.iter();
        entries.find_map(|entry| (entry.job.id == id).then_some(&entry.job))
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|entry| entry.job.id == id)
    }

    fn forget_old(&mut self) {
        let over = self.entries.iter().filter(|e| e.job.state.is_over());
        let mut too_many = over.count().saturating_sub(REMEMBERED);
        self.entries.retain(|entry| {
            let goes = too_many > 0 && entry.job.state.is_over();
            too_many -= usize::from(goes);
            !goes
        });
    }

    /// What was kept in `folder`. What was under way goes on. A file that makes no sense
    /// is put aside: nothing is lost that cannot be asked for again.
    pub(super) fn read(folder: &Path) -> io::Result<Self> {
        let file = folder.join(FILE);
        let bytes = match fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut jobs: Self = match serde_json::from_slice(&bytes) {
            Ok(jobs) => jobs,
            Err(error) => {
                let aside: PathBuf = file.with_extension("json.damaged");
                tracing::error!(file = %file.display(), aside = %aside.display(), %error,
                    "the list of replays cannot be read and is put aside; ask again for those that were under way");
                fs::rename(&file, aside)?;
                return Ok(Self::default());
            }
        };
        let under_way = jobs.entries.iter_mut().filter(|e| !e.job.state.rests());
        under_way.for_each(|entry| entry.job.enter(State::Waiting));
        Ok(jobs)
    }

    /// Keeps them in `folder`: whole or not at all, and on the disk when it returns.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(FILE))?;
        // The name is durable only with its folder.
        File::open(folder)?.sync_all()
    }
}

impl Job {
    /// Comes to another state.
    pub(super) fn enter(&mut self, state: State) {
        self.state = state;
        self.events_per_second = 0.0;
        self.seconds_left = None;
        let ended = state.is_over() || state == State::Failed;
        self.ended_at = ended.then(UnixMillis::now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::QueueName;

    fn wanted(dry_run: bool) -> Wanted {
        Wanted {
            queue: QueueName::default(),
            to_queue: None,
            from: None,
            to: None,
            filter: None,
            rate: None,
            dry_run,
        }
    }

    fn states(jobs: &Jobs) -> Vec<State> {
        jobs.all().iter().map(|job| job.state).collect()
    }

    #[test]
    fn one_runs_at_a_time_and_the_others_in_their_turn() {
        let mut jobs = Jobs::default();
        for _ in 0..3 {
            jobs.add(wanted(false)).expect("added");
        }
        assert_eq!(jobs.begin_next().expect("waits").job.id, 1);
        jobs.command(1, Command::Pause).expect("it runs");
        assert_eq!(jobs.begin_next().expect("waits").job.id, 2);
        jobs.command(1, Command::Resume).expect("it is paused");
        assert_eq!(
            states(&jobs),
            [State::Waiting, State::Counting, State::Waiting]
        );
        assert_eq!(jobs.begin_next().expect("waits").job.id, 1);
    }

    #[test]
    fn what_is_asked_of_a_replay_has_to_make_sense_where_it_is() {
        let mut jobs = Jobs::default();
        jobs.add(wanted(true)).expect("added");
        assert_eq!(
            jobs.command(2, Command::Pause),
            Err(Refused::Unknown(2)),
            "there is none"
        );
        let refused = jobs.command(1, Command::Resume);
        assert_eq!(refused, Err(Refused::Now(1, State::Waiting)));
        jobs.get_mut(1).expect("there").job.enter(State::Counted);
        let job = jobs.command(1, Command::Resume).expect("counted");
        assert!(!job.wanted.dry_run, "from here on it sends");
        jobs.command(1, Command::Cancel).expect("cancelled");
        for command in [Command::Pause, Command::Resume, Command::Cancel] {
            assert!(jobs.command(1, command).is_err());
        }
    }

    #[test]
    fn what_was_under_way_goes_on_after_a_restart_and_numbers_are_not_given_twice() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut jobs = Jobs::default();
        for _ in 0..3 {
            jobs.add(wanted(false)).expect("added");
        }
        jobs.begin_next().expect("waits");
        jobs.get_mut(1).expect("there").mark = Some(ArchiveMark::default());
        jobs.command(2, Command::Pause).expect("paused");
        jobs.command(3, Command::Cancel).expect("cancelled");
        jobs.write(folder.path()).expect("written");
        let mut jobs = Jobs::read(folder.path()).expect("read");
        assert_eq!(
            states(&jobs),
            [State::Waiting, State::Paused, State::Cancelled]
        );
        let again = jobs.begin_next().expect("waits");
        assert_eq!((again.job.id, again.job.state), (1, State::Running));
        assert_eq!(jobs.add(wanted(false)).expect("added").id, 4);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), "{\"entries\":[").expect("written");
        assert!(Jobs::read(folder.path()).expect("read").all().is_empty());
        assert!(folder.path().join("replays.json.damaged").exists());
    }

    #[test]
    fn only_some_of_those_that_are_over_are_remembered() {
        let mut jobs = Jobs::default();
        jobs.add(wanted(false)).expect("added");
        for id in 2..50 {
            jobs.add(wanted(false)).expect("added");
            jobs.command(id, Command::Cancel).expect("cancelled");
        }
        assert_eq!(jobs.all().len(), 1 + REMEMBERED);
        assert!(jobs.get(1).is_some() && jobs.get(49).is_some() && jobs.get(2).is_none());
    }

    #[test]
    fn no_more_wait_than_anybody_can_look_through() {
        let mut jobs = Jobs::default();
        for _ in 0..MOST {
            jobs.add(wanted(false)).expect("added");
        }
        assert_eq!(jobs.add(wanted(false)), Err(Refused::TooMany(MOST)));
    }

    #[test]
    fn what_only_counted_gives_way_when_there_are_too_many_the_oldest_first() {
        let mut jobs = Jobs::default();
        for id in 1..=MOST as u64 {
            jobs.add(wanted(true)).expect("added");
            if id != 1 {
                let job = &mut jobs.get_mut(id).expect("there").job;
                job.enter(State::Counted);
            }
        }
        let next = jobs.add(wanted(true)).expect("one gives way");
        let state = |jobs: &Jobs, id| jobs.get(id).map(|job| job.state);
        assert_eq!(state(&jobs, 1), Some(State::Waiting), "it has not counted");
        assert_eq!(state(&jobs, 2), Some(State::Cancelled));
        assert_eq!(state(&jobs, 3), Some(State::Counted));
        assert_eq!(state(&jobs, next.id), Some(State::Waiting));
    }
}
