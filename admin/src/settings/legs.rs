//! The section `legs`: by which mechanisms the servers of the organisation prove themselves to each other.

use super::fields::section_types;

section_types! {
    /// The section `legs`.
    Legs {
        /// Mechanisms in the order of preference: kerberos, mtls. What is not listed is forbidden; one alone is required.
        policy: Vec<String> = vec!["mtls".to_owned()], mechanisms;
        /// The same for IMAP sessions on their way to the account's server; empty: as policy says.
        imap: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For POP3 sessions.
        pop3: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For submissions.
        submission: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For SMTP sessions from front ends to hubs.
        smtp: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For mail from mailbox servers to hubs.
        hub: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For mail from hubs to mailbox servers.
        delivery: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For administrative commands.
        command: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For the directory. A server that must have Kerberos here cannot get a principal without the directory.
        directory: Vec<String> = vec!["mtls".to_owned()], mechanisms_or_none;
        /// For questions about sign-ins.
        signin: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For accounts on their way from server to server.
        relocation: Vec<String> = Vec::new(), mechanisms_or_none;
        /// For what servers tell each other of their health. What is to tell of Kerberos' failing had better not need it.
        health: Vec<String> = vec!["mtls".to_owned()], mechanisms_or_none;
    }
}

impl Legs {
    /// The mechanisms for an inner service, by its name: `imap`, `hub`…, `move` for accounts on their way.
    pub fn of(&self, service: &str) -> &[String] {
        let own = match service {
            "imap" => &self.imap,
            "pop3" => &self.pop3,
            "submission" => &self.submission,
            "smtp" => &self.smtp,
            "hub" => &self.hub,
            "delivery" => &self.delivery,
            "command" => &self.command,
            "directory" => &self.directory,
            "signin" => &self.signin,
            "move" => &self.relocation,
            "health" => &self.health,
            _ => &self.policy,
        };
        if own.is_empty() { &self.policy } else { own }
    }
}

#[allow(clippy::ptr_arg, reason = "checks are given the field's own type")]
fn mechanisms(names: &Vec<String>) -> Result<(), String> {
    if names.is_empty() {
        return Err("must list kerberos, mtls or both".into());
    }
    mechanisms_or_none(names)
}

#[allow(clippy::ptr_arg, reason = "checks are given the field's own type")]
fn mechanisms_or_none(names: &Vec<String>) -> Result<(), String> {
    let fits = |name: &String| matches!(name.as_str(), "kerberos" | "mtls");
    let twice = names.len() == 2 && names.first() == names.last();
    if names.len() <= 2 && names.iter().all(fits) && !twice {
        Ok(())
    } else {
        Err("must list kerberos, mtls or both, in the order of preference".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_as_the_policy() {
        let both = vec!["kerberos".to_owned(), "mtls".to_owned()];
        let legs = Legs { policy: both.clone(), imap: vec!["kerberos".into()], ..Legs::default() };
        assert_eq!(legs.of("imap"), ["kerberos"]);
        assert_eq!(legs.of("hub"), both.as_slice());
        assert_eq!(legs.of("directory"), ["mtls"]);
        assert!(mechanisms(&both).is_ok() && mechanisms(&Vec::new()).is_err());
        assert!(mechanisms_or_none(&vec!["mtls".into(), "mtls".into()]).is_err());
        assert!(mechanisms_or_none(&vec!["ntlm".into()]).is_err());
    }
}
