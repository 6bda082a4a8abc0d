//! How much memory this process may use, and how much it does: read from the control group that a container (or systemd)
//! put it in, version 1 and version 2, and from `/proc`. Linux only; elsewhere both are unknown.

use std::fs;
use std::path::Path;

/// From this on a number means "no limit": version 1 writes the largest multiple of a page instead of `max`.
const UNLIMITED: u64 = 1 << 60;

/// The limit of this process's control group in bytes: the tightest one on the way up. `None` without a limit.
pub fn limit_bytes() -> Option<u64> {
    limit_below(Path::new("/"))
}

/// What this process has in memory, in bytes (resident set size).
pub fn resident_bytes() -> Option<u64> {
    resident_below(Path::new("/"))
}

fn limit_below(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| group_limit(root, line)).min()
}

/// The limit that a line `ID:CONTROLLERS:PATH` of `/proc/self/cgroup` leads to (cgroups(7)).
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let (mount, file) = match controllers {
        "" => (root.join("sys/fs/cgroup"), "memory.max"),
        list if list.split(',').any(|controller| controller == "memory") => {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // Inside a container the path may be the host's, which isn't mounted here: then the mount itself is the group.
    let group = mount.join(path.trim_start_matches('/'));
    let on_the_way_up = group.ancestors().take_while(|folder| folder.starts_with(&mount));
    on_the_way_up.chain([mount.as_path()]).filter_map(|folder| read_limit(&folder.join(file))).min()
}

fn read_limit(file: &Path) -> Option<u64> {
    let limit = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (limit < UNLIMITED).then_some(limit)
}

fn resident_below(root: &Path) -> Option<u64> {
    let status = fs::read_to_string(root.join("proc/self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    #[test]
    fn version_2_has_its_tightest_limit_on_the_way_up() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/memory.max", "67108864\n"),
        ]);
        assert_eq!(limit_below(root.path()), Some(64 << 20));
    }

    #[test]
    fn a_container_sees_its_own_group_as_the_root() {
        let root = machine(&[
            ("proc/self/cgroup", "0::/../../host/path\n"),
            ("sys/fs/cgroup/memory.max", "33554432\n"),
        ]);
        assert_eq!(limit_below(root.path()), Some(32 << 20));
        let root = machine(&[
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "67108864\n"),
        ]);
        assert_eq!(limit_below(root.path()), Some(64 << 20));
    }

    #[test]
    fn no_limit_is_none() {
        let root = machine(&[
            ("proc/self/cgroup", "4:memory:/\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
        ]);
        assert_eq!(limit_below(root.path()), None);
        assert_eq!(limit_below(machine(&[]).path()), None);
    }

    #[test]
    fn what_this_process_uses_is_known() {
        let used = resident_bytes().expect("on Linux");
        assert!((100 * 1024..1 << 40).contains(&used), "{used}");
    }
}
