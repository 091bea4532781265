//! The servers of the organisation as legs need them, and which of them may use which service.

use super::Service;
use waypost_base::Timestamp;

/// A server, as the directory has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    pub id: String,
    pub frontend: bool,
    pub transport: bool,
    pub mailbox: bool,
    pub primary: bool,
    pub revoked: Option<Timestamp>,
    /// Inner certificates made before are void.
    pub certificates_since: Option<Timestamp>,
    /// Its service principals, the first one being what others ask tickets for.
    pub principals: Vec<String>,
}

/// Where members are looked up: the directory's snapshot, or a table in tests.
pub trait Members: Send + Sync {
    fn member(&self, id: &str) -> Option<Member>;
}

impl Members for Vec<Member> {
    fn member(&self, id: &str) -> Option<Member> {
        self.iter().find(|m| m.id == id).cloned()
    }
}

impl Member {
    /// `front end`, `hub`, `mailbox`, `server` where it has more than one role: as legs call it.
    pub fn role(&self) -> &'static str {
        match (self.frontend, self.transport, self.mailbox) {
            (true, false, false) => "front end",
            (false, true, false) => "hub",
            (false, false, true) => "mailbox",
            _ => "server",
        }
    }

    /// `frontend,mailbox`
    pub fn roles(&self) -> String {
        let all = [(self.frontend, "frontend"), (self.transport, "transport"), (self.mailbox, "mailbox")];
        let names: Vec<&str> = all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name).collect();
        if names.is_empty() { "no role".to_owned() } else { names.join(",") }
    }
}

/// Whether `from` may ask `to` for a service; else why not.
///
/// Least rights: a server gets at what its roles need. Sessions come from servers that meet clients; a front end keeps
/// nothing, so it neither runs commands elsewhere nor moves accounts nor delivers mail of its own.
pub fn may_use(service: Service, from: &Member, to: &Member) -> Result<(), String> {
    let wrong = |needs: &str| {
        Err(format!("{} ({}) may not use {service} of {}: that is for {needs}", from.id, from.roles(), to.id))
    };
    let lacks =
        |role: &str| Err(format!("{} ({}) has no role {role}, which {service} needs", to.id, to.roles()));
    match service {
        // Whoever meets clients may find that their home is elsewhere: mailbox servers have doors too.
        Service::Imap | Service::Pop3 | Service::Submission | Service::SignIn
            if !from.frontend && !from.mailbox =>
        {
            wrong("servers that meet clients")
        }
        Service::Smtp if !from.frontend => wrong("front ends"),
        // From a hub: one that is drained gives what it has to another.
        Service::Hub if !from.mailbox && !from.transport => wrong("servers that hold mail"),
        Service::Delivery if !from.transport => wrong("hubs"),
        Service::Command if !from.mailbox && !from.transport => {
            wrong("servers that administrators work on, which front ends are not")
        }
        Service::Move if !from.mailbox && !from.primary => wrong("mailbox servers"),
        Service::Imap | Service::Pop3 | Service::Submission | Service::Delivery | Service::Move
            if !to.mailbox =>
        {
            lacks("mailbox")
        }
        Service::Smtp | Service::Hub if !to.transport => lacks("transport"),
        Service::Directory if !to.primary => {
            Err(format!("{} does not keep the directory: the primary does", to.id))
        }
        Service::SignIn if !to.mailbox && !to.primary => lacks("mailbox"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(id: &str, roles: &str) -> Member {
        Member {
            id: id.into(),
            frontend: roles.contains('f'),
            transport: roles.contains('t'),
            mailbox: roles.contains('m'),
            primary: roles.contains('p'),
            ..Member::default()
        }
    }

    /// Who may ask whom, in a table: letters are the services that are allowed.
    #[test]
    fn least_rights() {
        let front = server("front", "f");
        let hub = server("hub", "t");
        let mailbox = server("mbx", "m");
        let first = server("first", "ftmp");
        let allowed = |from: &Member, to: &Member| {
            let fits = |s: &Service| may_use(*s, from, to).is_ok();
            Service::ALL.into_iter().filter(fits).map(Service::name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(allowed(&front, &mailbox), "imap pop3 submission signin health");
        assert_eq!(allowed(&front, &hub), "smtp health");
        assert_eq!(allowed(&front, &first), "imap pop3 submission smtp directory signin health");
        assert_eq!(allowed(&mailbox, &hub), "hub command health");
        assert_eq!(
            allowed(&mailbox, &first),
            "imap pop3 submission hub command directory signin move health"
        );
        assert_eq!(allowed(&hub, &mailbox), "delivery command health");
        assert_eq!(allowed(&hub, &front), "command health");
        assert_eq!(allowed(&hub, &first), "hub delivery command directory health");
        assert_eq!(allowed(&first, &mailbox), "imap pop3 submission delivery command signin move health");
        let why = may_use(Service::Command, &front, &mailbox).unwrap_err();
        assert_eq!(
            why,
            "front (frontend) may not use command of mbx: that is for servers that administrators work on, which \
             front ends are not"
        );
    }
}
