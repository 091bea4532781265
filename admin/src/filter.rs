//! The little language of `-Filter`: a part of Exchange's OPATH.
//!
//! `{Status -eq "Retry" -and (MessageCount -gt 10 -or NextHopDomain -like "*.example.net")}`: properties of the records that
//! the command shows, compared with -eq, -ne, -gt, -ge, -lt, -le, -like and -notlike, joined by -and, -or and -not.
//! The braces may be left out; texts are in either kind of quotes or, without spaces, in none.

use crate::output::{Cell, Record, wildcard};
use crate::settings::{Bytes, Span, parse_time};
use std::cmp::Ordering;

/// Bytes of a filter; people's have a hundred.
const BYTES_MAX: usize = 4096;
/// Parentheses and -not within each other.
const DEPTH_MAX: u32 = 32;

/// A filter, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Is { property: String, operator: Operator, value: Operand },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    Like,
    NotLike,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Null,
    Text(String),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    /// `-eq`, without the hyphen, in lower case.
    Operator(String),
    /// The flag says that it stood in quotes.
    Word(String, bool),
}

impl Filter {
    /// Reads a filter over these properties; the mistake is a sentence's end: "the filter …".
    pub fn parse(text: &str, properties: &[&str]) -> Result<Filter, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("is longer than {BYTES_MAX} bytes"));
        }
        let text = text.trim();
        let inner = match text.strip_prefix('{') {
            Some(rest) => rest.strip_suffix('}').ok_or("begins with { and does not end with }")?,
            None => text,
        };
        let tokens = tokens(inner)?;
        let mut reading = Reading { tokens: &tokens, at: 0, properties };
        let node = reading.any(0)?;
        match reading.peek() {
            None => Ok(Filter(node)),
            Some(token) => Err(format!("has {} where -and, -or or the end should be", shown(token))),
        }
    }

    /// Whether a record fits. A property that it does not have is as one without value.
    pub fn fits(&self, record: &Record) -> bool {
        self.0.fits(record)
    }
}

fn shown(token: &Token) -> String {
    match token {
        Token::Open => "(".into(),
        Token::Close => ")".into(),
        Token::Operator(name) => format!("-{name}"),
        Token::Word(text, _) => format!("{text:?}"),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' => out.push(Token::Open),
            ')' => out.push(Token::Close),
            '"' | '\'' => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        // A quote that stands twice is meant.
                        Some(q) if q == c && chars.next_if_eq(&c).is_some() => word.push(q),
                        Some(q) if q == c => break,
                        Some(other) => word.push(other),
                        None => return Err("has a text whose quotes do not end".into()),
                    }
                }
                out.push(Token::Word(word, true));
            }
            c => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|n| !n.is_whitespace() && !"()'\"".contains(*n)) {
                    word.push(next);
                }
                let operator = word.strip_prefix('-').filter(|n| n.starts_with(|c: char| c.is_alphabetic()));
                out.push(match operator {
                    Some(name) => Token::Operator(name.to_ascii_lowercase()),
                    None => Token::Word(word, false),
                });
            }
        }
    }
    Ok(out)
}

struct Reading<'a> {
    tokens: &'a [Token],
    at: usize,
    properties: &'a [&'a str],
}

impl<'a> Reading<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn take(&mut self) -> Option<&'a Token> {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn takes_operator(&mut self, name: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Operator(n)) if n == name);
        self.at += usize::from(there);
        there
    }

    fn any(&mut self, depth: u32) -> Result<Node, String> {
        let mut nodes = vec![self.all(depth)?];
        while self.takes_operator("or") {
            nodes.push(self.all(depth)?);
        }
        Ok(single(nodes, Node::Any))
    }

    fn all(&mut self, depth: u32) -> Result<Node, String> {
        let mut nodes = vec![self.one(depth)?];
        while self.takes_operator("and") {
            nodes.push(self.one(depth)?);
        }
        Ok(single(nodes, Node::All))
    }

    fn one(&mut self, depth: u32) -> Result<Node, String> {
        if depth > DEPTH_MAX {
            return Err(format!("has more than {DEPTH_MAX} parentheses within each other"));
        }
        if self.takes_operator("not") {
            return Ok(Node::Not(Box::new(self.one(depth + 1)?)));
        }
        match self.take() {
            Some(Token::Open) => {
                let node = self.any(depth + 1)?;
                match self.take() {
                    Some(Token::Close) => Ok(node),
                    _ => Err("lacks a )".into()),
                }
            }
            Some(Token::Word(name, false)) => self.comparison(name),
            Some(token) => Err(format!("has {} where a property should be", shown(token))),
            None => Err("ends where a property should be".into()),
        }
    }

    fn comparison(&mut self, name: &str) -> Result<Node, String> {
        let known = self.properties.iter().find(|p| p.eq_ignore_ascii_case(name));
        let Some(property) = known else {
            let near = self.properties.iter().min_by_key(|p| crate::words::distance(p, name));
            let near = near.filter(|p| crate::words::distance(p, name) <= 4);
            return Err(match near {
                Some(near) => format!("names {name:?}, which is no property; did you mean {near}?"),
                None => format!("names {name:?}, which is no property"),
            });
        };
        let operator = match self.take() {
            Some(Token::Operator(operator)) => match operator.as_str() {
                "eq" => Operator::Eq,
                "ne" => Operator::Ne,
                "gt" => Operator::Gt,
                "ge" => Operator::Ge,
                "lt" => Operator::Lt,
                "le" => Operator::Le,
                "like" => Operator::Like,
                "notlike" => Operator::NotLike,
                other => return Err(format!("has -{other}, which is no comparison")),
            },
            _ => return Err(format!("lacks a comparison such as -eq after {property}")),
        };
        let value = match self.take() {
            Some(Token::Word(text, false)) if text.eq_ignore_ascii_case("$null") => Operand::Null,
            Some(Token::Word(text, _)) => Operand::Text(text.clone()),
            _ => return Err(format!("lacks the value that {property} is compared with")),
        };
        Ok(Node::Is { property: (*property).to_owned(), operator, value })
    }
}

fn single(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        Some(last) => {
            nodes.push(last);
            many(nodes)
        }
        None => many(nodes),
    }
}

impl Node {
    fn fits(&self, record: &Record) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|n| n.fits(record)),
            Node::Any(nodes) => nodes.iter().any(|n| n.fits(record)),
            Node::Not(node) => !node.fits(record),
            Node::Is { property, operator, value } => {
                compare(record.cell(property).unwrap_or(&Cell::Null), *operator, value)
            }
        }
    }
}

fn compare(cell: &Cell, operator: Operator, value: &Operand) -> bool {
    match operator {
        Operator::Ne => return !compare(cell, Operator::Eq, value),
        Operator::NotLike => return !compare(cell, Operator::Like, value),
        _ => {}
    }
    // Of a list one item is enough.
    if let Cell::List(items) = cell {
        return match value {
            Operand::Null => items.is_empty() && operator == Operator::Eq,
            _ => items.iter().any(|item| compare(&Cell::Text(item.clone()), operator, value)),
        };
    }
    let Operand::Text(text) = value else { return *cell == Cell::Null && operator == Operator::Eq };
    if operator == Operator::Like {
        return *cell != Cell::Null && wildcard(text, &cell.shown());
    }
    let Some(order) = order(cell, text) else { return false };
    match operator {
        Operator::Eq => order == Ordering::Equal,
        Operator::Gt => order == Ordering::Greater,
        Operator::Ge => order != Ordering::Less,
        Operator::Lt => order == Ordering::Less,
        _ => order != Ordering::Greater,
    }
}

/// How a value stands to what was written; `None` where they cannot be compared.
fn order(cell: &Cell, text: &str) -> Option<Ordering> {
    match cell {
        Cell::Null | Cell::List(_) => None,
        Cell::Tree(tree) => tree.as_f64()?.partial_cmp(&text.parse::<f64>().ok()?),
        Cell::Text(own) => Some(own.to_lowercase().cmp(&text.to_lowercase())),
        Cell::Flag(on) => crate::catalogue::Kind::Bool.parse(text).and_then(|value| match value {
            crate::catalogue::Value::Flag(wanted) => Some(on.cmp(&wanted)),
            _ => None,
        }),
        Cell::Number(n) => (*n as f64).partial_cmp(&text.parse::<f64>().ok()?),
        Cell::Size(Some(bytes)) => Some(bytes.cmp(&Bytes::parse(text)?.0)),
        Cell::Size(None) if text.eq_ignore_ascii_case("unlimited") => Some(Ordering::Equal),
        Cell::Size(None) => Bytes::parse(text).map(|_| Ordering::Greater),
        Cell::Span(millis) => Some(millis.cmp(&Span::parse(text)?.0)),
        Cell::Time(at) => Some(at.cmp(&parse_time(text)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use waypost_base::Timestamp;

    const KNOWN: &[&str] =
        &["Status", "MessageCount", "Size", "NextRetryTime", "LastError", "Recipients", "Ok", "Velocity"];

    fn record() -> Record {
        Record::new()
            .with("Status", "Retry")
            .with("MessageCount", 12u32)
            .with("Size", Bytes::mb(1))
            .with("NextRetryTime", Timestamp(1_772_525_720_114))
            .with("LastError", Cell::Null)
            .with("Recipients", vec!["bob@example.net".to_owned(), "eve@example.org".to_owned()])
            .with("Ok", true)
            .with("Velocity", Cell::Tree((-0.5).into()))
    }

    #[test]
    fn fits() {
        for (filter, fits) in [
            ("{Status -eq \"Retry\"}", true),
            ("{status -EQ 'retry'}", true),
            ("Status -eq Retry", true),
            ("Status -ne 'Retry'", false),
            ("{MessageCount -gt 10}", true),
            ("MessageCount -gt 12", false),
            ("MessageCount -ge 12 -and MessageCount -le 12", true),
            ("MessageCount -lt many", false),
            ("Status -eq 'Ready' -or MessageCount -gt 1 -and Status -like 'r*'", true),
            ("(Status -eq 'Ready' -or MessageCount -gt 1) -and Status -like 'x*'", false),
            ("-not (Status -eq 'Ready')", true),
            ("Size -ge 1MB -and Size -lt 2MB", true),
            ("NextRetryTime -gt '2026-03-03 08:00'", true),
            ("NextRetryTime -lt 2026-03-03", false),
            ("LastError -eq $null", true),
            ("LastError -like '*refused*'", false),
            ("LastError -ne $null", false),
            ("Recipients -like '*@example.org'", true),
            ("Recipients -eq 'Bob@example.net'", true),
            ("Recipients -notlike '*@example.com'", true),
            ("Ok -eq $true", true),
            ("Status -eq 'Re''try'", false),
            ("{MessageCount -gt -1}", true),
            ("{Velocity -lt 0}", true),
        ] {
            let parsed = Filter::parse(filter, KNOWN).unwrap_or_else(|e| panic!("{filter}: {e}"));
            assert_eq!(parsed.fits(&record()), fits, "{filter}");
        }
    }

    #[test]
    fn mistakes() {
        for (filter, says) in [
            ("", "ends where a property should be"),
            ("{Status", "does not end with }"),
            ("Status", "lacks a comparison"),
            ("Status -eq", "lacks the value"),
            ("Status -is 1", "no comparison"),
            ("Statos -eq 1", "did you mean Status?"),
            ("Colour -eq 'red'", "no property"),
            ("Status -eq 'x", "quotes do not end"),
            ("(Status -eq x", "lacks a )"),
            ("Status -eq x Status", "where -and, -or"),
            ("'Status' -eq x", "where a property"),
        ] {
            let text = Filter::parse(filter, KNOWN).unwrap_err();
            assert!(text.contains(says), "{filter}: {text}");
        }
        assert!(Filter::parse(&"(".repeat(2000), KNOWN).unwrap_err().contains("within each other"));
    }

    proptest::proptest! {
        #[test]
        fn survives_anything(text in "[{}()'\"$ a-zA-Z0-9*-]{0,40}|(Status|Size|-eq|-like|-and|-not|[()]|'x'|1MB| ){0,12}") {
            if let Ok(filter) = Filter::parse(&text, KNOWN) {
                let _ = filter.fits(&record());
            }
        }
    }
}
