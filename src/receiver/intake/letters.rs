//! Letters that come as letters: from Logstash's dead letter queue.

use super::{Intake, Refusal};
use crate::dead_letter::DeadLetter;

impl Intake {
    /// Keeps letters; answers when they are durable. What is kept is taken out of
    /// `letters`.
    pub(in crate::receiver) async fn keep_letters(
        &self,
        letters: &mut Vec<DeadLetter>,
    ) -> Result<(), Refusal> {
        Ok(self.0.letters.keep(letters).await?)
    }
}
