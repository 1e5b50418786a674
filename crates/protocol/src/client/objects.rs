//! Calls about what is in films.

use super::{Answer, Client};
use crate::id::JobId;
use crate::objects::ObjectsView;
use crate::routes;

impl Client {
    /// What was found in the film of a completed job.
    ///
    /// # Errors
    /// As all calls; for a job that looked for nothing, too.
    pub async fn objects(&self, job: JobId) -> Answer<ObjectsView> {
        self.get(&routes::of_job(job, "objects")).await
    }
}
