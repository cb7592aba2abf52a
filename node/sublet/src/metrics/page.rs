//! The page: our metrics and libp2p's, in the Prometheus text format.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use prometheus::TextEncoder;
use sublet_engine::{Core, provider::Provider};
use tokio::sync::Mutex;

use super::{Metrics, openmetrics::to_prometheus_text};

/// A page is given out again for this long: anybody may ask, and asking must stay cheap.
const FRESH: Duration = Duration::from_secs(1);

/// Makes pages, one at a time.
pub struct Page {
    metrics: Arc<Metrics>,
    core: Arc<Core>,
    provider: Option<Arc<Provider>>,
    last: Mutex<Option<(Instant, Arc<str>)>>,
}

impl Page {
    /// Nothing is read before the first page.
    pub fn new(metrics: Arc<Metrics>, core: Arc<Core>, provider: Option<Arc<Provider>>) -> Self {
        Self { metrics, core, provider, last: Mutex::default() }
    }

    /// The page, at most a second old.
    ///
    /// # Errors
    /// A metric cannot be written, which is a bug.
    pub async fn text(&self) -> Result<Arc<str>, prometheus::Error> {
        let mut last = self.last.lock().await;
        if let Some((at, text)) = &*last
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(text));
        }
        let metrics = &self.metrics;
        metrics.state.refresh(&self.core, self.provider.as_deref()).await;
        let mut text = TextEncoder::new().encode_to_string(&metrics.registry.gather())?;
        text.push_str(&to_prometheus_text(&self.core.p2p.openmetrics()));
        let text: Arc<str> = text.into();
        *last = Some((Instant::now(), Arc::clone(&text)));
        Ok(text)
    }
}
