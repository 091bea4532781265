//! What the IMAP service counts of itself.

use waypost_base::metrics::{Counter, Figure, Gauge, Kind};

macro_rules! commands {
    ($($field:ident $name:literal $figure:literal),* $(,)?) => {
        /// Commands by name.
        #[derive(Debug, Default)]
        pub struct Commands { $(pub $field: Counter,)* }

        impl Commands {
            /// Counts one command under its name in capitals; unknown names count as `other`.
            pub fn one(&self, name: &str) {
                match name {
                    $($name => self.$field.one(),)*
                    _ => self.other.one(),
                }
            }

            fn figures(&self, out: &mut Vec<Figure>) {
                $(out.push(Figure {
                    name: $figure,
                    help: concat!("IMAP commands: ", $name),
                    kind: Kind::Counter,
                    value: self.$field.value() as f64,
                });)*
            }
        }
    };
}

commands! {
    append "APPEND" "imap_commands_append_total",
    authenticate "AUTHENTICATE" "imap_commands_authenticate_total",
    capability "CAPABILITY" "imap_commands_capability_total",
    close "CLOSE" "imap_commands_close_total",
    copy "COPY" "imap_commands_copy_total",
    examine "EXAMINE" "imap_commands_examine_total",
    expunge "EXPUNGE" "imap_commands_expunge_total",
    fetch "FETCH" "imap_commands_fetch_total",
    idle "IDLE" "imap_commands_idle_total",
    list "LIST" "imap_commands_list_total",
    login "LOGIN" "imap_commands_login_total",
    logout "LOGOUT" "imap_commands_logout_total",
    r#move "MOVE" "imap_commands_move_total",
    noop "NOOP" "imap_commands_noop_total",
    search "SEARCH" "imap_commands_search_total",
    select "SELECT" "imap_commands_select_total",
    sort "SORT" "imap_commands_sort_total",
    starttls "STARTTLS" "imap_commands_starttls_total",
    status "STATUS" "imap_commands_status_total",
    store "STORE" "imap_commands_store_total",
    thread "THREAD" "imap_commands_thread_total",
    other "OTHER" "imap_commands_other_total",
}

/// All counters and gauges of the service.
#[derive(Debug, Default)]
pub struct ImapFigures {
    pub sessions: Gauge,
    pub sessions_total: Counter,
    pub idle: Gauge,
    pub no: Counter,
    pub bad: Counter,
    /// Answers that say that the fault is ours.
    pub unavailable: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    pub commands: Commands,
}

impl ImapFigures {
    pub fn figures(&self) -> Vec<Figure> {
        let gauge = |name, help, g: &Gauge| Figure { name, help, kind: Kind::Gauge, value: g.value() as f64 };
        let counter =
            |name, help, c: &Counter| Figure { name, help, kind: Kind::Counter, value: c.value() as f64 };
        let mut out = vec![
            gauge("imap_sessions", "IMAP sessions open now", &self.sessions),
            gauge("imap_sessions_idle", "IMAP sessions in IDLE now", &self.idle),
            counter("imap_sessions_total", "IMAP sessions since the start", &self.sessions_total),
            counter("imap_no_total", "IMAP commands answered NO", &self.no),
            counter("imap_bad_total", "IMAP commands answered BAD", &self.bad),
            counter("imap_unavailable_total", "IMAP commands that failed by our fault", &self.unavailable),
            counter("imap_bytes_in_total", "Bytes read from IMAP clients", &self.bytes_in),
            counter("imap_bytes_out_total", "Bytes written to IMAP clients", &self.bytes_out),
        ];
        self.commands.figures(&mut out);
        out
    }
}
