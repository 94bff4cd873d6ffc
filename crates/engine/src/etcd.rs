//! The local etcd member: where it answers, how it fares, and its snapshot.
