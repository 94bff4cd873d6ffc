//! What a snapshot has of what an operator asks for.

use nightshift_snapshot::Findings;

use crate::object::Object;

#[derive(Debug, Default)]
pub struct Found {
    pub objects: Vec<Object>,
    /// Keys whose values cannot be restored, each with the reason.
    pub unusable: Vec<(Vec<u8>, String)>,
    /// Keys that were deleted before the snapshot, with the revision of the deletion.
    pub deleted: Vec<(Vec<u8>, u64)>,
    /// The last revision of the snapshot.
    pub revision: u64,
    pub findings: Findings,
}
