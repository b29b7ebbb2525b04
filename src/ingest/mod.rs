//! Wire formats in: a request body → the observations that it states.
//!
//! Pure: bytes and the time of receipt in, a [`Parsed`] or an [`IngestError`] out. An error in one alert
//! costs that alert alone. An error that can be mended without a change of the alert's identity is mended
//! and counted. Only input that is no alert, or has no labels, is refused. The bounds are in [`bounds`].

mod alert;
pub mod api_v2;
pub mod bounds;
pub mod events;
mod go;
mod invalid;
mod json;
mod labels;
mod named;
mod parsed;
mod text;
mod times;
pub mod webhook;

pub use go::GoJson;
pub use invalid::{IngestError, InvalidReason};
pub use named::NamedLabels;
pub use parsed::{Parsed, Reject};

use serde_json::value::RawValue;

use self::json::Json;
use self::labels::{Annotations, Labels};
use crate::model::{Duration, LabelSet, Timestamp};

/// The label set that a JSON object of strings states, within [`bounds`]. It is read as if it came in a
/// request, so that a history equals live operation.
///
/// # Errors
/// There is no label.
pub fn label_set(json: &RawValue) -> Result<LabelSet, String> {
    let named = NamedLabels::default();
    let mut labels = Labels::new(&named);
    let read = labels.read(&mut Json::new(json.get())).map(|()| labels.set());
    read.ok().filter(|set| !set.is_empty()).ok_or_else(|| labels::NONE.to_owned())
}

/// The annotations that a JSON object states, within [`bounds`]. No content is an error.
pub fn annotation_set(json: &RawValue) -> LabelSet {
    let mut annotations = Annotations::default();
    annotations.read(&mut Json::new(json.get())).map(|()| annotations.set()).unwrap_or_default()
}

/// Whether a body that came to a path where no alerts are taken states alerts.
pub fn states_alerts(body: &[u8], received_at: Timestamp) -> bool {
    let named = NamedLabels::default();
    let some = |parsed: Result<Parsed, _>| parsed.is_ok_and(|parsed| !parsed.batch.observations.is_empty());
    some(webhook::parse(body, "", received_at, &named))
        || some(api_v2::parse(body, "", received_at, Duration::from_mins(5), &named))
}
