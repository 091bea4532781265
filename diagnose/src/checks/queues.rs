//! Checks for causes of the area `queues`: queues that hold mail, connectors that nothing can use, code of others.

use super::{Check, Hit};
use crate::case::Case;
use crate::fact::Fact;
use crate::words;
use regex::Regex;
use std::sync::LazyLock;

pub const ALL: &[(&str, Check)] = &[
    ("submission_queue_is_long", submission_queue_is_long),
    ("poison_queue_holds_mail", poison_queue_holds_mail),
    ("categorizer_latency_is_large", categorizer_latency_is_large),
    ("no_send_connector_is_usable", no_send_connector_is_usable),
    ("queue_waits_without_error", queue_waits_without_error),
    ("few_connections_are_allowed", few_connections_are_allowed),
    ("sent_minutes_after_received", sent_minutes_after_received),
    ("foreign_code_in_call_stack", foreign_code_in_call_stack),
    ("foreign_assembly_failed", foreign_assembly_failed),
    ("foreign_agent_is_enabled", foreign_agent_is_enabled),
];

/// Messages in a queue from which it counts as long: a busy hub has some dozens at any time.
const LONG: f64 = 100.0;
/// Seconds between arrival and departure from which a message is late.
const LATE_MILLIS: i64 = 120_000;
/// Seconds in one component of the categorizer that nobody would call usual.
const SLOW: f64 = 60.0;

fn queues(case: &Case) -> impl Iterator<Item = &Fact> {
    case.of("object").filter(|f| f.get("identity").is_some() && f.get("messagecount").is_some())
}

fn named(fact: &Fact, name: &str) -> bool {
    fact.get("identity")
        .and_then(|i| i.rsplit(['\\', '/']).next())
        .is_some_and(|n| n.eq_ignore_ascii_case(name))
}

fn holds(case: &Case, name: &str, least: f64) -> Vec<Hit> {
    let full =
        queues(case).filter(|f| named(f, name) && f.number("messagecount").is_some_and(|n| n >= least));
    full.map(|f| {
        let count = f.get("messagecount").unwrap_or_default();
        Hit::of(format!("{count} messages in queue {}", f.get("identity").unwrap_or_default()), &[f])
    })
    .collect()
}

fn submission_queue_is_long(case: &Case) -> Vec<Hit> {
    holds(case, "Submission", LONG)
}

fn poison_queue_holds_mail(case: &Case) -> Vec<Hit> {
    holds(case, "Poison", 1.0)
}

fn categorizer_latency_is_large(case: &Case) -> Vec<Hit> {
    static COMPONENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)\bCATRT[\w-]*\s*[=:;]\s*((?:\d+\.)?\d+:\d\d:\d\d|\d+(?:\.\d+)?)").ok()
    });
    let Some(component) = COMPONENT.as_ref() else { return Vec::new() };
    let mut hits = Vec::new();
    for fact in case.all().filter(|f| f.mentions("CATRT")) {
        let texts = std::iter::once(&*fact.text).chain(fact.fields.iter().map(|(_, value)| &**value));
        let slowest = texts
            .flat_map(|text| component.captures_iter(text).filter_map(|c| words::number(c.get(1)?.as_str())))
            .fold(0.0, f64::max);
        if slowest >= SLOW {
            hits.push(Hit::of(format!("{slowest} seconds in the transport rules (CATRT)"), &[fact]));
        }
    }
    hits
}

/// All connectors that lead to the whole internet are disabled, or there is none.
fn no_send_connector_is_usable(case: &Case) -> Vec<Hit> {
    let all: Vec<&Fact> = case
        .of("object")
        .filter(|f| f.is("type", "SendConnector") || f.get("addressspaces").is_some())
        .collect();
    let wide = |f: &Fact| {
        f.get("addressspaces").is_some_and(|spaces| {
            words::items(spaces).any(|space| {
                let domain = space.split(':').next_back().unwrap_or_default();
                domain == "*" || domain == "--"
            })
        })
    };
    let off = |f: &Fact| f.is("enabled", "False");
    if all.is_empty() || all.iter().any(|f| wide(f) && !off(f)) {
        return Vec::new();
    }
    let disabled: Vec<&Fact> = all.iter().copied().filter(|f| off(f)).collect();
    match disabled.first() {
        Some(first) => {
            let name = first.get("identity").or(first.get("name")).unwrap_or("?");
            vec![Hit::of(
                format!("Send connector {name} is disabled, and no other leads to the internet"),
                &disabled,
            )]
        }
        None => vec![Hit::of("No Send connector leads to the whole internet (address space *)", &all)],
    }
}

fn queue_waits_without_error(case: &Case) -> Vec<Hit> {
    let waits = |f: &&Fact| {
        let kind = f.get("deliverytype").unwrap_or_default().to_lowercase();
        let outgoing =
            ["smarthost", "dnsconnector", "smtprelay", "smtpdelivery"].iter().any(|k| kind.starts_with(k));
        // A table of few columns has no type; only outgoing hops are names with a dot.
        let named = kind.is_empty() && f.get("nexthopdomain").is_some_and(|hop| hop.contains('.'));
        let alive = ["Active", "Ready", "Connecting"].iter().any(|s| f.is("status", s));
        (outgoing || named)
            && alive
            && f.get("lasterror").is_none()
            && f.number("messagecount").is_some_and(|n| n >= LONG)
    };
    queues(case)
        .filter(waits)
        .map(|f| {
            let (identity, count) =
                (f.get("identity").unwrap_or_default(), f.get("messagecount").unwrap_or_default());
            Hit::of(format!("Queue {identity} works without an error and still holds {count} messages"), &[f])
        })
        .collect()
}

fn few_connections_are_allowed(case: &Case) -> Vec<Hit> {
    case.of("object")
        .filter(|f| f.number("maxperdomainoutboundconnections").is_some_and(|n| n <= 20.0))
        .map(|f| {
            let most = f.get("maxperdomainoutboundconnections").unwrap_or_default();
            let retry = f.get("messageretryinterval").unwrap_or("unknown");
            Hit::of(format!("At most {most} connections to one domain; MessageRetryInterval {retry}"), &[f])
        })
        .collect()
}

/// A message was taken in and handed on minutes later, with nothing having failed in between.
fn sent_minutes_after_received(case: &Case) -> Vec<Hit> {
    let log = || case.of("tracking").chain(case.objects("MessageTrackingLog"));
    let mut hits = Vec::new();
    for received in log().filter(|f| f.is("eventid", "RECEIVE")) {
        let (Some(id), Some(from)) = (received.get("messageid"), received.time) else { continue };
        let same = || log().filter(|f| f.get("messageid") == Some(id) && f.server == received.server);
        if same().any(|f| f.is("eventid", "DEFER") || f.is("eventid", "FAIL")) {
            continue;
        }
        let sent = same()
            .filter(|f| f.is("eventid", "SEND"))
            .find(|f| f.time.is_some_and(|to| to.0.saturating_sub(from.0) >= LATE_MILLIS));
        if let Some(sent) = sent {
            hits.push(Hit::of(
                "A message was handed on minutes after it was taken in, without a failed attempt",
                &[received, sent],
            ));
        }
    }
    hits
}

/// Exchange's own and the framework's namespaces.
const OURS: &[&str] = &["Microsoft", "System", "MS", "M", "Interop", "lambda", "Windows"];

/// Event 4999 names the assembly in which a process of transport has failed: the fifth of its parameters.
fn foreign_assembly_failed(case: &Case) -> Vec<Hit> {
    const OF_EXCHANGE: &[&str] = &["mscorlib", "unknown", "netstandard", "ntdll", "kernelbase", "clr", "e12"];
    let transport = ["edgetransport", "MSExchangeDelivery", "MSExchangeSubmission", "FrontendTransport"];
    let crashes = case.of("event").filter(|f| f.is("id", "4999"));
    let of_transport =
        crashes.filter(|f| f.get("process").is_some_and(|p| transport.iter().any(|t| words::contains(p, t))));
    let foreign = |f: &&Fact| {
        let assembly = f.get("w5").unwrap_or_default();
        let root = assembly.split('.').next().unwrap_or_default();
        let named = root.len() > 2 && !root.bytes().all(|b| b.is_ascii_digit());
        named && !OURS.contains(&root) && !OF_EXCHANGE.iter().any(|own| root.eq_ignore_ascii_case(own))
    };
    let told = |f: &Fact| {
        let assembly = f.get("w5").unwrap_or_default();
        Hit::of(format!("Transport failed in {assembly}, which is not Exchange's"), &[f])
    };
    of_transport.filter(foreign).map(told).collect()
}

fn foreign_code_in_call_stack(case: &Case) -> Vec<Hit> {
    static FRAME: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\bat\s+([A-Za-z_]\w*)((?:\.[\w`<>]+){1,12})\(").ok());
    let Some(frame) = FRAME.as_ref() else { return Vec::new() };
    let mut hits = Vec::new();
    for fact in case.of("event").chain(case.of("text")) {
        let relevant = fact.kind == "text"
            || ["10003", "10001", "4999", "16023", "1000"].iter().any(|id| fact.is("id", id));
        if !relevant {
            continue;
        }
        let texts = fact.get("message").into_iter().chain(std::iter::once(&*fact.text));
        let foreign = texts.flat_map(|text| frame.captures_iter(text)).find_map(|c| {
            let (root, rest) = (c.get(1)?.as_str(), c.get(2)?.as_str());
            (!OURS.contains(&root)).then(|| format!("{root}{rest}"))
        });
        if let Some(code) = foreign {
            hits.push(Hit::of(
                format!("The call stack goes through {code}, which is not Exchange's"),
                &[fact],
            ));
        }
    }
    hits
}

/// Words in the names of the agents that Exchange brings.
const OWN_AGENTS: &[&str] = &[
    "Transport Rule",
    "DLP Policy",
    "Malware",
    "Text Messaging",
    "System Probe",
    "Retention Policy",
    "Supervisory",
    "Journal",
    "RMS",
    "Prelicensing",
    "Content Filter",
    "Sender Id",
    "SenderID",
    "Sender Filter",
    "Recipient Filter",
    "Protocol Analysis",
    "Connection Filtering",
    "Address Rewriting",
    "Edge Rule",
    "Attachment Filtering",
    "Index",
    "Mailbox Rules",
    "Microsoft",
    "AMSI",
    "Conversations",
    "Approval",
    "Unified Group",
    "Shared Mailbox",
    "Dual Delivery",
    "Mfn",
    "Meeting",
    "Restricted",
    "TextMessaging",
];

fn foreign_agent_is_enabled(case: &Case) -> Vec<Hit> {
    let agents = case.of("object").filter(|f| {
        f.is("type", "TransportAgent")
            || (f.get("priority").is_some() && f.get("identity").is_some_and(|i| words::contains(i, "agent")))
    });
    agents
        .filter(|f| !f.is("enabled", "False"))
        .filter_map(|f| {
            let name = f.get("identity").or(f.get("name"))?;
            let own = OWN_AGENTS.iter().any(|known| words::contains(name, known));
            (!own).then(|| Hit::of(format!("Agent {name} is of another vendor"), &[f]))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Place;
    use waypost_base::Timestamp;

    fn queue(identity: &str, count: &str) -> Fact {
        Fact::new("object", Place::default()).with("identity", identity).with("messagecount", count)
    }

    #[test]
    fn queues_that_hold_mail() {
        let mut case = Case::new(Timestamp(0));
        case.add(queue("MBX01\\Poison", "0"));
        case.add(queue("MBX01\\Submission", "4,100"));
        assert!(poison_queue_holds_mail(&case).is_empty());
        assert_eq!(submission_queue_is_long(&case).len(), 1);
    }

    #[test]
    fn one_connector_that_works_is_enough() {
        let connector = |enabled: &str| {
            Fact::new("object", Place::default())
                .with("type", "SendConnector")
                .with("identity", enabled)
                .with("addressspaces", "{SMTP:*;1}")
                .with("enabled", enabled)
        };
        let mut case = Case::new(Timestamp(0));
        assert!(no_send_connector_is_usable(&case).is_empty());
        case.add(connector("False"));
        assert_eq!(no_send_connector_is_usable(&case).len(), 1);
        case.add(connector("True"));
        assert!(no_send_connector_is_usable(&case).is_empty());
    }

    #[test]
    fn code_of_others_in_a_call_stack() {
        let event = |stack: &str| {
            let mut case = Case::new(Timestamp(0));
            case.add(Fact::new("event", Place::default()).with("id", "10003").text(stack));
            foreign_code_in_call_stack(&case).len()
        };
        assert_eq!(event("at Contoso.Scan.Agent.OnSubmitted(Object o) at Microsoft.Exchange.X.Y()"), 1);
        assert_eq!(event("at Microsoft.Exchange.X.Y(Object o) at System.Threading.T.Run()"), 0);
    }
}
