//! Notices in the queue: a task for each target sends them, when they are due. Nothing of a night waits for it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use nightshift_core::name::TargetName;
use tokio_util::sync::CancellationToken;

use super::actions::{Daemon, Task, TaskOutput};
use crate::notify::deliver::deliver;

impl Daemon {
    /// The time until the next notice is due.
    pub fn until_notice(&self) -> Duration {
        let running = |target: &TargetName| self.supervisor.is_running(&Task::Notify(target.clone()));
        let now = Timestamp::now();
        let idle = self.notices.due.iter().filter(|(target, _)| !running(target));
        let next = idle.map(|(_, next)| next).min();
        next.map_or(Duration::MAX, |next| next.duration_since(now).try_into().unwrap_or_default())
    }

    /// Starts a task for each target with a notice that is due. A queue that got one while its task runs is looked at afterwards.
    pub fn send_notices_if_due(&mut self) {
        let (now, settings) = (Timestamp::now(), Arc::clone(self.agenda.settings()));
        let is_new = std::mem::take(&mut self.notices.is_new);
        for target in &settings.notify {
            if is_new {
                self.notices.due.entry(target.name.clone()).or_insert(now);
            }
            let is_due = self.notices.due.get(&target.name).is_some_and(|next| *next <= now);
            let task = Task::Notify(target.name.clone());
            if !is_due || self.supervisor.is_running(&task) {
                continue;
            }
            self.notices.due.remove(&target.name);
            let (settings, target, audit) = (Arc::clone(&settings), target.clone(), self.audit.clone());
            let sending = async move {
                let next = deliver(&settings, &target, &audit).await;
                TaskOutput::Notified { target: target.name, next }
            };
            self.supervisor.start(task, CancellationToken::new(), sending);
        }
        self.notices.due.retain(|name, _| settings.notify.iter().any(|target| target.name == *name));
    }
}
