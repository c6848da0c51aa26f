//! Patience with a peer that has a window, and its limits.

use std::time::Duration;

use tokio::time::Instant;

use crate::forwarder::endpoint::LinkState;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::vigil::Vigil;

/// Since when what has not happened.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    vigil: Vigil<'a>,
    /// The window, or what is left of it, got on.
    progress: Instant,
    /// The peer gave any sign of life.
    sign: Instant,
    /// The peer said that it is alive and not done.
    pub(super) was_kept_waiting: bool,
    shown: bool,
    said: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(vigil: Vigil<'a>) -> Self {
        let now = Instant::now();
        Self {
            vigil,
            progress: now,
            sign: now,
            was_kept_waiting: false,
            shown: false,
            said: false,
        }
    }

    /// Events were acknowledged, or bytes taken.
    pub(super) fn got_on(&mut self) {
        let now = Instant::now();
        (self.progress, self.sign) = (now, now);
        self.said = false;
        if std::mem::take(&mut self.shown) {
            self.vigil.link.shows(LinkState::Open);
        }
    }

    /// The peer is alive, and not done.
    pub(super) fn kept_waiting(&mut self) {
        self.sign = Instant::now();
        self.was_kept_waiting = true;
        self.show();
    }

    /// When [`Watch::judge`] has something to say, if nothing happens before.
    pub(super) fn due(&self) -> Instant {
        let timing = self.vigil.timing;
        let silence = self.sign + timing.lumberjack.silence;
        let show = (!self.shown).then(|| self.progress + timing.blocked);
        let alarm = (!self.said).then(|| self.progress + timing.lumberjack.alarm);
        show.into_iter().chain(alarm).fold(silence, Instant::min)
    }

    /// Shows, says or ends what is due.
    pub(super) fn judge(&mut self) -> Result<(), Unknown> {
        let now = Instant::now();
        let timing = self.vigil.timing;
        let is_over = |since: Instant, limit: Duration| now >= since + limit;
        if is_over(self.sign, timing.lumberjack.silence) {
            return Err(Unknown::Silent(timing.lumberjack.silence));
        }
        if is_over(self.progress, timing.blocked) {
            self.show();
        }
        if !self.said && is_over(self.progress, timing.lumberjack.alarm) {
            self.said = true;
            let endpoint = self.vigil.link.endpoint();
            endpoint.blocked_for_long(timing.lumberjack.alarm);
        }
        Ok(())
    }

    fn show(&mut self) {
        if !std::mem::replace(&mut self.shown, true) {
            self.vigil.link.shows(LinkState::Blocked);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.shown {
            self.vigil.link.shows(LinkState::Open);
        }
    }
}
