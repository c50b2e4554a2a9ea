//! Whether the host of a URL that an operator enters can be reached by its name.

use webhook_delivery::HostError;
use webhook_model::{EndpointUrl, FieldError};

use super::input;
use crate::{api::Api, problem::Problem};

/// A warning where the host has no address now: it may have one later, and deliveries are tried until
/// then. Refused where every address that it has is forbidden.
pub(super) async fn check(api: &Api, url: &EndpointUrl) -> Result<Option<String>, Problem> {
    match api.deps.delivery.check_host(url).await {
        Ok(()) => Ok(None),
        Err(HostError::Unresolved(why)) => Ok(Some(format!(
            "unresolved_host: {why}; deliveries are tried until it has an address"
        ))),
        Err(HostError::Refused(refusal)) => Err(Problem::Invalid(vec![FieldError::new(
            "url",
            input::forbidden(&refusal),
        )])),
    }
}
