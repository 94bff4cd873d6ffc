//! The only place that starts tasks: it can stop each one, and returns its result.

use std::collections::HashMap;
use std::future::Future;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

/// Runs named tasks and returns the result of each, also of one that panicked.
#[derive(Debug)]
pub struct Supervisor<N, T> {
    tasks: JoinSet<T>,
    names: HashMap<Id, N>,
    stops: HashMap<Id, CancellationToken>,
}

/// What a task returned, or the message of its panic.
#[derive(Debug)]
pub struct TaskResult<N, T> {
    pub name: N,
    pub result: Result<T, String>,
}

impl<N: Clone + PartialEq + Send + 'static, T: Send + 'static> Supervisor<N, T> {
    pub fn new() -> Self {
        Self { tasks: JoinSet::new(), names: HashMap::new(), stops: HashMap::new() }
    }

    /// Starts a task. It has to end soon after `stop` is cancelled.
    #[allow(clippy::disallowed_methods)] // this is the supervisor
    pub fn start(
        &mut self,
        name: N,
        stop: CancellationToken,
        task: impl Future<Output = T> + Send + 'static,
    ) {
        let id = self.tasks.spawn(task).id();
        self.names.insert(id, name);
        self.stops.insert(id, stop);
    }

    pub fn is_running(&self, name: &N) -> bool {
        self.names.values().any(|running| running == name)
    }

    pub fn running(&self) -> impl Iterator<Item = &N> {
        self.names.values()
    }

    /// Stops a task: it ends at its next await, and what it wrote is resumed later.
    pub fn stop(&self, name: &N) {
        for (id, running) in &self.names {
            if running == name
                && let Some(stop) = self.stops.get(id)
            {
                stop.cancel();
            }
        }
    }

    pub fn stop_all(&self) {
        self.stops.values().for_each(CancellationToken::cancel);
    }

    /// The result of the next task that ends; waits for ever while none runs.
    pub async fn next(&mut self) -> TaskResult<N, T> {
        loop {
            let Some(joined) = self.tasks.join_next_with_id().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let (id, result) = match joined {
                Ok((id, value)) => (id, Ok(value)),
                Err(error) => (error.id(), Err(error.to_string())),
            };
            self.stops.remove(&id);
            if let Some(name) = self.names.remove(&id) {
                return TaskResult { name, result };
            }
        }
    }
}
