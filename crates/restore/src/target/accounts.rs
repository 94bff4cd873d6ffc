//! Users and groups of this machine: the number that a name had on the old one may be another user's here.

use nightshift_core::owner::Owner;
use rustix::fs::{Gid, Uid};

pub trait Accounts {
    fn user(&self, name: &str) -> Option<u32>;
    fn group(&self, name: &str) -> Option<u32>;
}

/// Those that the machine's own name service knows.
#[derive(Debug)]
pub struct SystemAccounts;

impl Accounts for SystemAccounts {
    fn user(&self, name: &str) -> Option<u32> {
        uzers::get_user_by_name(name).map(|user| user.uid())
    }

    fn group(&self, name: &str) -> Option<u32> {
        uzers::get_group_by_name(name).map(|group| group.gid())
    }
}

/// By name, else by number.
pub fn ids(accounts: &dyn Accounts, owner: &Owner) -> (Uid, Gid) {
    let user = owner.user.as_deref().and_then(|name| accounts.user(name));
    let group = owner.group.as_deref().and_then(|name| accounts.group(name));
    (Uid::from_raw(user.unwrap_or(owner.uid)), Gid::from_raw(group.unwrap_or(owner.gid)))
}

/// The names of an owner that do not exist here.
pub fn unknown(accounts: &dyn Accounts, owner: &Owner) -> Vec<String> {
    let user = owner.user.as_deref().filter(|name| accounts.user(name).is_none());
    let group = owner.group.as_deref().filter(|name| accounts.group(name).is_none());
    let user = user.map(|name| format!("user {name}"));
    user.into_iter().chain(group.map(|name| format!("group {name}"))).collect()
}
