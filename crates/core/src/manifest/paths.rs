//! The paths of items and the targets of links, which may be hostile.

/// Whether a path stays inside the directory that it is joined to, and can be created on Linux file systems.
pub fn is_safe_path(path: &str) -> bool {
    const MAX_DEPTH: usize = 64;
    // Linux's PATH_MAX and NAME_MAX.
    const MAX_PATH_LEN: usize = 4096;
    const MAX_NAME_LEN: usize = 255;
    !path.is_empty()
        && path.len() <= MAX_PATH_LEN
        && !path.contains('\0')
        && path.split('/').count() <= MAX_DEPTH
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != ".." && part.len() <= MAX_NAME_LEN)
}

/// Whether a symlink at `path` with this `target` stays within the set.
pub fn link_stays_inside(path: &str, target: &str) -> bool {
    if target.is_empty() || target.starts_with('/') {
        return false;
    }
    let mut depth = path.split('/').count() - 1;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => return false,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}
