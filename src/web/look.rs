//! A look at the engine, as handlers take it.

use tokio::sync::oneshot;

use super::app::App;
use super::problem::Problem;
use crate::engine::Engine;

/// The result of `read` on the engine. It runs on the engine's thread: its work must be bounded.
pub(super) async fn look<T: Send + 'static>(
    app: &App,
    read: impl FnOnce(&Engine) -> T + Send + 'static,
) -> Result<T, Problem> {
    let (done, answer) = oneshot::channel();
    app.gate.look(Box::new(move |engine| {
        let _ = done.send(engine.map(read).map_err(str::to_owned));
    }));
    match tokio::time::timeout(app.limits.answer_timeout, answer).await {
        Ok(Ok(Ok(seen))) => Ok(seen),
        Ok(Ok(Err(reason))) => Err(Problem::unavailable(reason)),
        Ok(Err(_)) => Err(Problem::unavailable("the node takes no more requests at the moment: try again")),
        Err(_) => Err(Problem::unavailable("no answer in time: try again")),
    }
}

/// The result of a change to the node, which runs in a task of its own. A client that goes away must not
/// leave it open whether the change was made.
pub(super) async fn finished<T>(app: &App, task: tokio::task::JoinHandle<T>) -> Result<T, Problem> {
    match tokio::time::timeout(app.limits.answer_timeout, task).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) | Err(_) => Err(Problem::unavailable("it is not confirmed: look again")),
    }
}
