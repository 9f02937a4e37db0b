//! A batch in parts, where the memory of a GPU is too small for it whole.

use mrpf_api::Result;
use mrpf_api::context::CallContext;
use mrpf_api::data::Batch;
use mrpf_api::network::Classifier;

/// What `work` gives for the batch; for parts of it, in their order, where there is no room.
///
/// # Errors
/// Those of `work`; when one image has no room, with a hint.
pub(super) fn in_parts<T>(
    cx: &CallContext<'_>,
    classifier: &dyn Classifier,
    batch: &Batch,
    work: impl Fn(&Batch) -> Result<T>,
) -> Result<Vec<T>> {
    let mut found = Vec::new();
    let mut parts = cx.parts(batch.len(), batch.len(), || classifier.release_memory());
    while let Some(of_part) = parts.next_part(|part| work(&batch.part(part)?))? {
        found.push(of_part);
    }
    Ok(found)
}
