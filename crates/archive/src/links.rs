//! Which symlinks of a set are entries of its archive, and with which targets.
//!
//! An unpacked link must stay inside its set: the archive may be unpacked anywhere, as root. A link whose target is outside is
//! rewritten, relative to the root of the set, which mirrors that of the host: `etc/a/link -> /etc/b` becomes `../b`. Copied back
//! to `/`, it has its old meaning.

use std::borrow::Cow;
use std::collections::HashSet;

use nightshift_core::manifest::{Item, ItemKind, Manifest};

/// The symlinks of one set.
pub(crate) struct Links<'m> {
    paths: HashSet<&'m str>,
}

impl<'m> Links<'m> {
    pub fn of(manifest: &'m Manifest) -> Self {
        let links = manifest.items.iter().filter(|item| matches!(item.kind, ItemKind::Symlink { .. }));
        Self { paths: links.map(|item| item.path.as_str()).collect() }
    }

    /// The target of a link's entry; `None` where the link is in the manifest only.
    pub fn target<'t>(&self, item: &Item, target: &'t str) -> Option<Cow<'t, str>> {
        let parent: Vec<&str> = item.path.split('/').collect();
        let parent = &parent[..parent.len() - 1];
        let (place, left) = self.resolve(if target.starts_with('/') { &[] } else { parent }, target)?;
        if !target.starts_with('/') && !left {
            return Some(Cow::Borrowed(target));
        }
        // Only an item at its own path is where the target can be reached from.
        (item.source.strip_prefix('/') == Some(&item.path)).then(|| Cow::Owned(relative(parent, &place)))
    }

    /// Where a target leads, and whether it goes above the root on its way. `None` if it climbs from another link of the set: where
    /// that would end depends on the other link.
    fn resolve<'t>(&self, from: &[&'t str], target: &'t str) -> Option<(Vec<&'t str>, bool)> {
        let mut place = from.to_vec();
        let (mut left, mut through_link) = (target.is_empty(), false);
        for part in target.split('/') {
            match part {
                "" | "." => {}
                ".." if through_link => return None,
                ".." => left |= place.pop().is_none(),
                part => {
                    place.push(part);
                    through_link |= self.paths.contains(place.join("/").as_str());
                }
            }
        }
        (!target.is_empty()).then_some((place, left))
    }
}

fn relative(from: &[&str], to: &[&str]) -> String {
    let common = from.iter().zip(to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let parts: Vec<&str> = up.chain(to[common..].iter().copied()).collect();
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::kit::{Vault, link};

    fn manifest(items: Vec<Item>) -> Manifest {
        let items = items.into_iter().map(|item| (item, Vec::new())).collect();
        Vault::new().set("n1.x/2026-11-22/node", items).manifest
    }

    fn targets(links: &[(&str, &str)]) -> Vec<Option<String>> {
        let manifest = manifest(links.iter().map(|(path, target)| link(path, target).0).collect());
        let of = Links::of(&manifest);
        let target = |item: &Item| match &item.kind {
            ItemKind::Symlink { target } => of.target(item, target).map(Cow::into_owned),
            _ => None,
        };
        manifest.items.iter().map(target).collect()
    }

    #[test]
    fn a_link_that_leaves_the_set_is_rewritten_relative_to_its_root() {
        let rewritten = [
            ("etc/kubernetes/pki/ca.crt", "/etc/kubernetes/ssl/ca.crt", "../ssl/ca.crt"),
            (
                "etc/ssl/certs/a.pem",
                "/usr/share/ca-certificates/a.crt",
                "../../../usr/share/ca-certificates/a.crt",
            ),
            ("etc/alternatives/x", "/", "../.."),
            ("etc/b/self", "/etc/b", "."),
            ("etc/up", "../../../var/x", "../var/x"),
            ("etc/same", "b/../c", "b/../c"),
            ("top", "/../../etc/x", "etc/x"),
        ];
        for (path, target, expected) in rewritten {
            assert_eq!(targets(&[(path, target)]), [Some(expected.to_owned())], "{path} -> {target}");
        }
    }

    #[test]
    fn a_link_that_climbs_from_another_link_stays_in_the_manifest_only() {
        let trap = targets(&[("a/b/c/d/up", "../../../.."), ("out", "a/b/c/d/up/../../../../../etc")]);
        assert_eq!(trap, [Some("../../../..".to_owned()), None]);
        // As Kubernetes links its mounted files: through a link, without climbing.
        let mounted = targets(&[("v/..data", "..2026"), ("v/tls.crt", "..data/tls.crt")]);
        assert!(mounted.iter().all(Option::is_some), "{mounted:?}");
        assert_eq!(targets(&[("a", "")]), [None]);
    }

    #[test]
    fn a_link_that_is_stored_under_another_name_is_rewritten_only_if_it_stays_inside() {
        let item = Item { source: "/var/x".into(), ..link("alias", "inside").0 };
        let manifest = manifest(vec![item.clone()]);
        let links = Links::of(&manifest);
        assert_eq!(links.target(&item, "inside").as_deref(), Some("inside"));
        assert_eq!(links.target(&item, "/etc/x"), None);
    }
}
