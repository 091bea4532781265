//! Machines for tests: network namespaces with a cable each into one switch, so that cables can be cut.

use crate::ldap::run;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A hardware address that nobody has: frames for it are lost without a word.
const NOBODY: &str = "02:00:00:00:00:99";

/// Some machines, `10.77.0.1` and up, in a network of their own.
pub struct Net {
    prefix: String,
    machines: u8,
}

fn ip(words: &str) -> String {
    run(Command::new("ip").args(words.split(' ')))
}

impl Net {
    /// Needs the right to make network namespaces; `None` without it.
    pub fn new(machines: u8) -> Option<Net> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("wp{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let switch = format!("{prefix}s");
        let made = Command::new("ip").args(["netns", "add", &switch]).output();
        if !made.is_ok_and(|out| out.status.success()) {
            return None;
        }
        let net = Net { prefix, machines };
        ip(&format!("-n {switch} link add switch type bridge"));
        ip(&format!("-n {switch} link set switch up"));
        for number in 1..=machines {
            let name = net.name(number);
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link add eth0 type veth peer name port{number} netns {switch}"));
            ip(&format!("-n {switch} link set port{number} master switch"));
            ip(&format!("-n {switch} link set port{number} up"));
            ip(&format!("-n {name} addr add {}/24 dev eth0", Net::address(number)));
            ip(&format!("-n {name} link set eth0 up"));
        }
        Some(net)
    }

    fn name(&self, machine: u8) -> String {
        format!("{}m{machine}", self.prefix)
    }

    pub fn address(machine: u8) -> String {
        format!("10.77.0.{machine}")
    }

    /// A program on a machine.
    pub fn on(&self, machine: u8, program: &std::ffi::OsStr) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(machine)]).arg(program);
        command
    }

    /// What `from` sends to `to` is lost; the other way goes on.
    pub fn deafen(&self, from: u8, to: u8) {
        let (name, to) = (self.name(from), Net::address(to));
        ip(&format!("-n {name} neigh replace {to} lladdr {NOBODY} dev eth0 nud permanent"));
    }

    /// Nothing goes either way.
    pub fn cut(&self, one: u8, other: u8) {
        self.deafen(one, other);
        self.deafen(other, one);
    }

    /// Everything goes again.
    pub fn heal(&self) {
        for number in 1..=self.machines {
            ip(&format!("-n {} neigh flush dev eth0 nud permanent", self.name(number)));
        }
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        let names = (1..=self.machines).map(|n| self.name(n)).chain([format!("{}s", self.prefix)]);
        for name in names {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}
