//! A process as the kernel describes it.

use std::collections::BTreeMap;
use std::fs;

/// Names of capabilities by their number (capabilities(7)).
const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The one capability that a mail server needs: for ports below 1024.
pub const BIND: &str = "CAP_NET_BIND_SERVICE";

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(pub u64);

impl Capabilities {
    pub fn names(self) -> Vec<String> {
        let named = CAPABILITIES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let mut names: Vec<String> = named.map(|(_, name)| (*name).to_owned()).collect();
        let unknown = self.0 >> CAPABILITIES.len();
        if unknown != 0 {
            names.push(format!("{} newer ones", unknown.count_ones()));
        }
        names
    }

    pub fn has(self, name: &str) -> bool {
        CAPABILITIES.iter().position(|n| *n == name).is_some_and(|bit| self.0 & (1 << bit) != 0)
    }

    pub fn without(self, name: &str) -> Capabilities {
        match CAPABILITIES.iter().position(|n| *n == name) {
            Some(bit) => Capabilities(self.0 & !(1 << bit)),
            None => self,
        }
    }
}

/// Who a process is and what it may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    pub uid: u32,
    pub gid: u32,
    /// With the supplementary ones.
    pub groups: Vec<u32>,
    pub effective: Capabilities,
    pub permitted: Capabilities,
    pub ambient: Capabilities,
    pub no_new_privs: bool,
    /// The path of the control group.
    pub control_group: String,
    /// The systemd unit, where there is one.
    pub unit: Option<String>,
}

impl Process {
    /// This one. `None` where there is no `/proc`.
    pub fn current() -> Option<Process> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Process::parse(&status, &group)
    }

    /// Somebody who runs nothing yet: what the unit gives is not known, so no capability is assumed.
    pub fn of_user(uid: u32, gid: u32) -> Process {
        Process { uid, gid, groups: groups_of(uid, gid), ..Process::default() }
    }

    fn parse(status: &str, group: &str) -> Option<Process> {
        let lines: BTreeMap<&str, &str> = status.lines().filter_map(|l| l.split_once(':')).collect();
        let line = |name: &str| lines.get(name).map(|v| v.trim()).unwrap_or_default();
        // Real, effective, saved, file system: the second is what counts.
        let effective = |name: &str| line(name).split_whitespace().nth(1)?.parse::<u32>().ok();
        let set = |name: &str| Capabilities(u64::from_str_radix(line(name), 16).unwrap_or_default());
        let control_group = group.lines().find_map(|l| l.strip_prefix("0::")).unwrap_or_default().to_owned();
        let gid = effective("Gid")?;
        let mut groups: Vec<u32> = line("Groups").split_whitespace().filter_map(|g| g.parse().ok()).collect();
        if !groups.contains(&gid) {
            groups.insert(0, gid);
        }
        let unit = control_group.rsplit('/').find(|part| part.ends_with(".service")).map(str::to_owned);
        Some(Process {
            pid: line("Pid").parse().ok()?,
            uid: effective("Uid")?,
            gid,
            groups,
            effective: set("CapEff"),
            permitted: set("CapPrm"),
            ambient: set("CapAmb"),
            no_new_privs: line("NoNewPrivs") == "1",
            control_group,
            unit,
        })
    }

    pub fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// The name of a user in the password file, or the bare number.
pub fn user_name(uid: u32) -> String {
    named("/etc/passwd", uid).unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of a group, or the bare number.
pub fn group_name(gid: u32) -> String {
    named("/etc/group", gid).unwrap_or_else(|| format!("gid {gid}"))
}

fn named(file: &str, wanted: u32) -> Option<String> {
    let (text, wanted) = (fs::read_to_string(file).ok()?, wanted.to_string());
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(wanted.as_str())).then(|| name.to_owned())
    })
}

fn groups_of(uid: u32, gid: u32) -> Vec<u32> {
    let (name, text) = (user_name(uid), fs::read_to_string("/etc/group").unwrap_or_default());
    let mut groups = vec![gid];
    for line in text.lines() {
        let fields: Vec<&str> = line.split(':').collect();
        if let [_, _, number, members] = fields.as_slice()
            && members.split(',').any(|m| m == name)
            && let Ok(number) = number.parse()
        {
            groups.push(number);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\twaypost\nPid:\t4711\nUid:\t1000\t998\t998\t998\nGid:\t1000\t997\t997\t997\n\
        Groups:\t42 997 \nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nCapAmb:\t0000000000000400\n\
        NoNewPrivs:\t1\n";

    #[test]
    fn a_service_of_systemd() {
        let process = Process::parse(STATUS, "0::/system.slice/waypost.service\n").unwrap();
        assert_eq!((process.pid, process.uid, process.gid), (4711, 998, 997));
        assert_eq!(process.groups, [42, 997]);
        assert_eq!(process.effective.names(), [BIND]);
        assert_eq!(process.effective.without(BIND), Capabilities(0));
        assert_eq!(process.unit.as_deref(), Some("waypost.service"));
        assert!(process.no_new_privs && !process.is_root());
        assert_eq!(Process::parse("Pid:\t1\n", ""), None);
    }

    #[test]
    fn capabilities_have_names() {
        assert_eq!(Capabilities(0b11).names(), ["CAP_CHOWN", "CAP_DAC_OVERRIDE"]);
        assert_eq!(Capabilities(1 << 40).names(), ["CAP_CHECKPOINT_RESTORE"]);
        assert_eq!(Capabilities(3 << 50).names(), ["2 newer ones"]);
        assert!(Capabilities(1 << 10).has(BIND) && !Capabilities(1).has(BIND));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(Process::current().is_some_and(|p| p.pid == std::process::id()));
    }
}
