//! What RESTORE.txt is made from.

use super::member::Member;
use crate::archive::ArchiveName;
use crate::manifest::Item;
use crate::name::HostName;
use crate::set_path::SetId;
use crate::settings::Settings;
use crate::system::ControlPlane;

/// What the text is made from.
pub struct ByHand<'a> {
    pub settings: &'a Settings,
    /// The archive that contains the text; `None` in a kit, which is for any archive of its host.
    pub archive: Option<Packed<'a>>,
    pub control_plane: Option<ControlPlane>,
    /// The members of etcd. Empty where no manifest lists them.
    pub members: Vec<Member>,
    /// Whether etcd has v2 keys, which a snapshot does not contain.
    pub has_v2: bool,
}

/// The archive that contains the text.
pub struct Packed<'a> {
    pub name: &'a ArchiveName,
    /// The best etcd set in it, and its snapshot's path in the set.
    pub snapshot: Option<(SetId, String)>,
    /// The symlinks that tar does not create, with their targets.
    pub left_out: Vec<(HostName, &'a Item)>,
}
