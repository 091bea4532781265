//! The message is whole: agents look at it, it is made durable, then we say so.
//!
//! One account and nothing else: the batch that delivers it is the commit. Everything else: the queue's rows are, and
//! accounts and other servers follow without holding up the reply. LMTP: each account by itself, since each recipient
//! has its own reply.

use super::Kind;
use super::driver::{Conn, Message, Recipient};
use super::inner::{MOVING, moved};
use super::intake::{HEADER_TOO_LARGE, Taken};
use super::policy::{DISK_FULL, STORE_DOWN, TOO_LARGE_TO_GET, blob_failed, too_large_to_send};
use crate::agent::Verdict;
use crate::categorize::{Meaning, Note, Opening, to_hub};
use crate::deliver::{self, Job, Undelivered};
use crate::draft::{Draft, fields};
use crate::limits::{HEADER, LOCAL_HOPS};
use crate::pipeline::{self, Copied, Stage};
use crate::report;
use crate::track::headers_from;
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use waypost_base::AccountId;
use waypost_base::explain::{Cause, Outcome};
use waypost_directory::Account;
use waypost_mailbox::Content;
use waypost_queue::{
    Accepted, Client, Envelope, Hop, Loaded, Local, NewItem, Params, Place, Put, Route, Target,
};
use waypost_smtp::{Answer, Reply, Status};
use waypost_store::{BlobError, CommitError};

const REFUSED: Cause = Cause {
    code: "SMTP-REFUSED",
    meaning: "the message was refused after it had come",
    remedy: "the text says what the sender was told",
    reference: "RFC 5321 §4.2",
};
const NOBODY: Reply =
    Reply::new(550, Status(5, 4, 6), "The recipients forward to each other and to nobody else");

/// How the agents left a message.
#[derive(Default)]
struct Judged {
    /// Goes to the junk folders.
    junk: bool,
    /// Taken, and thrown away.
    discarded: bool,
}

impl Conn {
    pub(super) async fn finish(&mut self) -> Answer {
        let Some(message) = self.message.take() else { return Answer::Refuse(STORE_DOWN) };
        let mut message = *message;
        message.leg.step("data", deliver::micros(message.data_begun), None);
        let begun = Instant::now();
        let Some(intake) = message.intake.take() else { return Answer::Refuse(STORE_DOWN) };
        let octets = intake.octets;
        let item = self.service.hub.queue.next_id();
        let mut message_id = String::new();
        let taken = match intake.finish().await {
            Err(e) => Err(blob_failed(&e)),
            Ok(Taken::Refused(reply)) => Err(reply),
            Ok(Taken::Content(content)) => Ok((content, Judged::default())),
            Ok(Taken::Draft(trace, draft)) => self.judge(&mut message, item, &trace, *draft).await,
        };
        let answer = match taken {
            Err(reply) => Answer::Refuse(reply),
            Ok((content, judged)) => {
                message_id.clone_from(&content.summary.message_id);
                self.take(&message, item, content, octets, &judged).await
            }
        };
        self.count(&answer, octets);
        self.tell(message, &message_id, octets, deliver::micros(begun), &answer);
        answer
    }

    async fn take(
        &mut self,
        message: &Message,
        item: u64,
        content: Content,
        octets: u64,
        judged: &Judged,
    ) -> Answer {
        if let Some(reply) = self.unacceptable(message, &content, octets).await {
            self.track_refused(message, item, &content, &reply);
            return Answer::Refuse(reply);
        }
        if judged.discarded {
            self.track_dropped(message, item, &content);
            return Answer::Accept(accepted(&message.id));
        }
        self.commit(message, item, content, judged.junk).await
    }

    /// The agents that want the message get it, each after the other; then it is written as it is.
    async fn judge(
        &mut self,
        message: &mut Message,
        item: u64,
        trace: &str,
        mut draft: Draft,
    ) -> Result<(Content, Judged), Reply> {
        let hub = self.service.hub.clone();
        self.copy(message, item, Stage::Received, &draft).await;
        let mut judged = Judged::default();
        if let Some(about) = message.about.take() {
            let wanted = std::mem::take(&mut message.wanted);
            if about.is_foreign() {
                // Marks that only we make.
                draft.remove(|field| field.is("x-spam-flag") || field.is("x-waypost-junk"));
            }
            for (agent, _) in hub.agents.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
                let begun = Instant::now();
                let verdict = agent.message(&about, &mut draft).await;
                let said =
                    [note(&verdict), draft.take_note()].into_iter().flatten().collect::<Vec<_>>().join("; ");
                message.leg.step(
                    agent.name(),
                    deliver::micros(begun),
                    (!said.is_empty()).then(|| said.clone()),
                );
                self.track_agent(message, item, &draft, agent.name(), &verdict, &said);
                match verdict {
                    Verdict::Pass => {}
                    Verdict::Junk { why } | Verdict::Quarantine { why } => {
                        judged.junk = true;
                        draft.prepend("X-Waypost-Junk", &format!("{}: {}", agent.name(), one_line(&why)));
                    }
                    Verdict::Discard { .. } => {
                        judged.discarded = true;
                        break;
                    }
                    Verdict::Reject(reply) | Verdict::Defer(reply) => return Err(reply),
                }
            }
            if judged.junk {
                draft.prepend("X-Spam-Flag", "YES");
            }
            judged.discarded |= !self.change_envelope(message, draft.envelope());
            self.copy(message, item, Stage::Agents, &draft).await;
        }
        let written = async {
            let mut writer = hub.mailboxes.writer();
            writer.write(trace.as_bytes()).await?;
            let mut pieces = draft.read();
            while let Some(piece) = pieces.next().await? {
                writer.write(&piece).await?;
            }
            writer.finish().await
        };
        let content = written.await.map_err(|e: BlobError| blob_failed(&e))?;
        Ok((content, judged))
    }

    /// A copy for whoever traces this sender.
    async fn copy(&mut self, message: &Message, item: u64, stage: Stage, draft: &Draft) {
        let hub = self.service.hub.clone();
        let (Some(tracing), true) = (&hub.tracing, message.traced) else { return };
        match draft.read().collect().await {
            Ok(bytes) => {
                tracing.copy(stage, &pipeline::name(item), self.envelope_text(message), Copied::Memory(bytes))
            }
            Err(e) => tracing::warn!(session = %self.correlation, error = %e, "message not copied"),
        }
    }

    fn envelope_text(&self, message: &Message) -> String {
        let to = message.recipients.iter().map(|r| &r.accepted.to);
        let (helo, _) = self.session.helo().unwrap_or_default();
        let notes = format!(
            "Session: {}\r\nMessage: {}\r\nClient: {helo} [{}]\r\nConnector: {}\r\n",
            self.correlation,
            message.id,
            self.peer.ip(),
            self.gate.name
        );
        pipeline::envelope(message.accepted, message.from.as_ref(), to, &notes)
    }

    /// What could only be seen in the message itself.
    async fn unacceptable(&mut self, message: &Message, content: &Content, octets: u64) -> Option<Reply> {
        let header = content.summary.parts.first().map_or(0, |part| part.header.end);
        if header > HEADER as u64 {
            return Some(HEADER_TOO_LARGE);
        }
        let hops = content.summary.fields.iter().filter(|f| f.name.eq_ignore_ascii_case("received")).count();
        if hops > LOCAL_HOPS.min(self.gate.max_hops)
            && let Some(reply) = self.in_circles(content, hops, header).await
        {
            return Some(reply);
        }
        let settings = self.settings.clone();
        if let Some(me) = self.identity.as_ref().map(|i| i.account) {
            let directory = self.service.hub.directory.snapshot();
            let limit = directory.account(me).and_then(|a| a.limits.send_bytes.or(settings.max_send));
            if let Some(limit) = limit.filter(|limit| octets > *limit) {
                return Some(too_large_to_send(limit));
            }
        }
        // Where it is too large for everybody, the sender hears it now; else those who cannot take it are reported.
        let too_large = |meaning: &Meaning| match meaning {
            Meaning::Account(account) => {
                account.limits.receive_bytes.or(settings.max_receive).is_some_and(|limit| octets > limit)
            }
            _ => false,
        };
        message.recipients.iter().all(|r| too_large(&r.meaning)).then_some(TOO_LARGE_TO_GET)
    }

    /// Whether it has been here, or anywhere, too often; names the servers that it goes round.
    async fn in_circles(&mut self, content: &Content, hops: usize, header: u64) -> Option<Reply> {
        let hub = self.service.hub.clone();
        let header = hub.mailboxes.store().blobs().read(&content.blob, 0..header).await.unwrap_or_default();
        let host = self.settings.host.clone();
        let by: Vec<String> =
            fields(&header).filter(|f| f.is("received")).filter_map(|f| received_by(&f.text())).collect();
        // The one that we have just put there does not count.
        let ours = by.iter().filter(|name| name.eq_ignore_ascii_case(&host)).count().saturating_sub(1);
        if hops.saturating_sub(1) <= self.gate.max_hops && ours <= LOCAL_HOPS {
            return None;
        }
        let mut seen = BTreeSet::new();
        let round: Vec<&str> = by
            .iter()
            .map(String::as_str)
            .filter(|name| seen.insert(name.to_ascii_lowercase()))
            .take(6)
            .collect();
        let text = format!("Too many hops, this message goes round in circles: {}", round.join(", "));
        tracing::warn!(session = %self.correlation, hops, ours, "{text}");
        Some(Reply::with(554, Status(5, 4, 6), text))
    }

    async fn commit(&mut self, message: &Message, item: u64, content: Content, junk: bool) -> Answer {
        if self.service.kind == Kind::Delivery {
            return self.each(message, item, content, junk).await;
        }
        let here = |account: &Account| self.service.hub.directory.snapshot().is_here(account);
        let sent = self.sent_copy(message);
        let single = matches!(message.recipients.as_slice(), [one]
            if matches!(&one.meaning, Meaning::Account(account) if account.forward_to.is_none() && here(account)));
        let reports = message.recipients.iter().any(|r| report::wants_success(&r.accepted));
        let apart = reports || message.traced;
        if self.service.kind == Kind::Lmtp
            && !apart
            && message
                .recipients
                .iter()
                .all(|r| matches!(&r.meaning, Meaning::Account(a) if a.forward_to.is_none() && here(a)))
        {
            return self.each(message, item, content, junk).await;
        }
        if !self.service.hub.is_transport() {
            let hops = to_hub(message.recipients.iter().map(|r| r.accepted.to.clone()));
            return self.several(message, item, content, hops, &[]).await;
        }
        if single
            && sent.is_none()
            && !apart
            && let Some(target) = direct(message, junk)
        {
            return self.straight(message, item, content, &target, &[]).await;
        }
        let (mut hops, notes) = {
            let directory = self.service.hub.directory.snapshot();
            let noting = self.service.hub.tracking.is_some();
            let mut opening = Opening::new(&directory, self.sender(&directory, message), noting);
            for (of, recipient) in (0..).zip(&message.recipients) {
                opening.add(of, &recipient.accepted.to, &recipient.meaning);
            }
            if let Some(account) = sent.and_then(|id| directory.account(id)) {
                opening.sent(account);
            }
            opening.hops()
        };
        if junk {
            let targets = hops.iter_mut().flat_map(|hop| hop.targets.iter_mut());
            for local in
                targets.filter_map(|target| target.local.as_mut()).filter(|l| l.place == Place::Inbox)
            {
                local.place = Place::Junk;
            }
        }
        match hops.as_slice() {
            [] => Answer::Refuse(NOBODY),
            [Hop { route: Route::Mailbox, targets, .. }] if targets.len() == 1 && !apart => {
                match targets.first() {
                    Some(target) => self.straight(message, item, content, target, &notes).await,
                    None => Answer::Refuse(NOBODY),
                }
            }
            _ => self.several(message, item, content, hops, &notes).await,
        }
    }

    /// The account whose Sent folder gets a copy, where it asked for that.
    fn sent_copy(&self, message: &Message) -> Option<AccountId> {
        let (me, _) = self.author(Some(message))?;
        let copies = self.service.hub.directory.snapshot().account(me).is_some_and(|a| a.copy_smtp_sent);
        copies.then_some(me)
    }

    fn job(&self, message: &Message, content: Content, target: &Target) -> Option<Job> {
        Some(Job {
            target: target.clone(),
            local: target.local?,
            content,
            accepted: message.told.as_ref().map_or(message.accepted, |told| told.accepted),
            session: self.correlation,
            token: message.told.as_ref().zip(target.local).map(|(t, l)| t.delivery.part(l.account, l.place)),
            ignore_quota: target.local.is_some_and(|local| local.place == Place::Sent),
        })
    }

    /// One account: the batch that delivers it is the commit.
    async fn straight(
        &mut self,
        message: &Message,
        item: u64,
        content: Content,
        target: &Target,
        notes: &[Note],
    ) -> Answer {
        let hub = self.service.hub.clone();
        let Some(job) = self.job(message, content.clone(), target) else { return Answer::Refuse(STORE_DOWN) };
        match deliver::deliver(&hub, job).await {
            Ok(()) => {
                if hub.tracking.is_some() {
                    self.track_taken(message, item, &content, notes);
                    self.track_delivered(message, item, &content, target);
                }
                Answer::Accept(accepted(&message.id))
            }
            Err(e) => Answer::Refuse(self.not_delivered(&e)),
        }
    }

    /// The queue's rows are the commit; the rest follows without holding up the reply.
    async fn several(
        &mut self,
        message: &Message,
        item: u64,
        content: Content,
        hops: Vec<Hop>,
        notes: &[Note],
    ) -> Answer {
        let hub = self.service.hub.clone();
        let envelope = self.envelope(message, &content);
        let recipients: Vec<Accepted> = message.recipients.iter().map(|r| r.accepted.clone()).collect();
        let local = hops.iter().find(|hop| hop.route == Route::Mailbox);
        // So many at once: more wait here, and their senders with them.
        let permit = match local {
            Some(_) => match hub.delivering.clone().acquire_owned().await {
                Ok(permit) => Some(permit),
                Err(_) => return Answer::Refuse(STORE_DOWN),
            },
            None => None,
        };
        let loaded = local.map(|hop| Loaded {
            envelope: envelope.clone(),
            blob: content.blob.clone(),
            recipients: recipients.clone(),
            targets: (0..).zip(hop.targets.iter().cloned()).collect(),
            attempts: 0,
            last_error: None,
        });
        let new = NewItem { id: item, envelope, blob: content.blob.clone(), recipients, hops };
        let expanded = report::expanded(&hub, &new).await;
        let submitted = match message.told {
            None => hub.queue.submit(new, loaded.is_some()).await,
            Some(_) => match hub.queue.submit_once(new, loaded.is_some()).await {
                Ok(Put::New(submitted)) => Ok(submitted),
                Ok(Put::Before(before)) => {
                    tracing::info!(session = %self.correlation, item = before, "handed over again: it is here already");
                    return Answer::Accept(accepted(&message.id));
                }
                Err(e) => Err(e),
            },
        };
        let submitted = match submitted {
            Ok(submitted) => submitted,
            Err(e) => return Answer::Refuse(commit_failed(&e)),
        };
        if hub.tracking.is_some() {
            self.track_taken(message, item, &content, notes);
        }
        if let (Some(tracing), true) = (&hub.tracing, message.traced) {
            let copy = Copied::stored(hub.mailboxes.store().blobs(), &content.blob);
            tracing.copy(Stage::Queued, &pipeline::name(item), self.envelope_text(message), copy);
        }
        if let Some(report) = expanded
            && let Err(e) = hub.queue.submit(report, false).await
        {
            tracing::warn!(item, error = %e, "report of the expansion not queued");
        }
        if let (Some(lease), Some(loaded)) = (submitted.local, loaded) {
            tokio::spawn(async move {
                deliver::run(hub, lease, loaded, content).await;
                drop(permit);
            });
        }
        Answer::Accept(accepted(&message.id))
    }

    fn envelope(&self, message: &Message, content: &Content) -> Envelope {
        let summary = &content.summary;
        let (helo, _) = self.session.helo().unwrap_or_default();
        let hops = summary.fields.iter().filter(|f| f.name.eq_ignore_ascii_case("received")).count();
        let expiration = self.settings.retry.expiration_millis;
        if let Some(told) = &message.told {
            return Envelope {
                params: Params::from(&message.params),
                owner: told.owner,
                expires: told.expires,
                subject: summary.subject.clone(),
                message_id: summary.message_id.clone(),
                headers_from: headers_from(summary),
                client: told.client.clone(),
                kind: told.kind,
                hops_seen: u32::try_from(hops).unwrap_or(u32::MAX),
                delivery: Some(told.delivery),
                ..Envelope::new(message.from.clone(), told.accepted, told.session)
            };
        }
        Envelope {
            params: Params::from(&message.params),
            owner: self.identity.as_ref().map(|i| i.account),
            expires: message.accepted.plus_millis(expiration),
            subject: summary.subject.clone(),
            message_id: summary.message_id.clone(),
            headers_from: headers_from(summary),
            client: Client {
                ip: Some(self.peer.ip()),
                helo: helo.to_owned(),
                connector: self.gate.name.clone(),
            },
            hops_seen: u32::try_from(hops).unwrap_or(u32::MAX),
            ..Envelope::new(message.from.clone(), message.accepted, self.correlation)
        }
    }

    /// LMTP, and mail from a hub of ours: a reply for each recipient, in order; recipients that are the same account (and
    /// place in it) share one delivery.
    async fn each(&mut self, message: &Message, item: u64, content: Content, junk: bool) -> Answer {
        let hub = self.service.hub.clone();
        let place = if junk { Place::Junk } else { Place::Inbox };
        let mut seen = BTreeSet::new();
        let mut targets = Vec::new();
        for (of, recipient) in (0..).zip(&message.recipients) {
            if let Some(local) = local_of(recipient, place)
                && seen.insert(local)
            {
                targets.push(Target { to: recipient.accepted.to.clone(), of, local: Some(local) });
            }
        }
        let mut under_way = tokio::task::JoinSet::new();
        let mut results: BTreeMap<Local, Reply> = BTreeMap::new();
        if hub.tracking.is_some() {
            self.track_taken(message, item, &content, &[]);
        }
        for target in &targets {
            let Some(job) = self.job(message, content.clone(), target) else { continue };
            if targets.len() == 1 {
                let done = deliver::deliver(&hub, job.clone()).await;
                results.insert(job.local, self.outcome(done, &message.id));
            } else {
                let hub = hub.clone();
                under_way.spawn(async move { (job.local, deliver::deliver(&hub, job).await) });
            }
        }
        while let Some(joined) = under_way.join_next().await {
            if let Ok((local, done)) = joined {
                results.insert(local, self.outcome(done, &message.id));
            }
        }
        let has_it = |target: &&Target| {
            target.local.and_then(|local| results.get(&local)).is_some_and(Reply::is_positive)
        };
        for target in targets.iter().filter(has_it) {
            self.track_delivered(message, item, &content, target);
        }
        let reply = |recipient| results.get(&local_of(recipient, place)?).cloned();
        Answer::Each(message.recipients.iter().map(|r| reply(r).unwrap_or(STORE_DOWN)).collect())
    }

    fn outcome(&self, done: Result<(), Undelivered>, id: &str) -> Reply {
        match done {
            Ok(()) => accepted(id),
            Err(e) => self.not_delivered(&e),
        }
    }

    fn not_delivered(&self, e: &Undelivered) -> Reply {
        match e {
            Undelivered::TooLarge { .. } => TOO_LARGE_TO_GET,
            Undelivered::Moved(home) => moved(home),
            Undelivered::Moving => MOVING,
            e if deliver::is_over_quota(e) => self.over_quota(),
            Undelivered::Mailbox(e) if e.disk_full() => DISK_FULL,
            e => {
                tracing::warn!(session = %self.correlation, error = %e, "message not delivered");
                STORE_DOWN
            }
        }
    }

    fn count(&self, answer: &Answer, octets: u64) {
        let metrics = &self.service.hub.metrics;
        let one = |reply: &Reply| match reply.code {
            0..400 => metrics.accepted.one(),
            400..500 => metrics.deferred.one(),
            _ => metrics.refused.one(),
        };
        match answer {
            Answer::Accept(reply) | Answer::Refuse(reply) => one(reply),
            Answer::Each(replies) => replies.iter().for_each(one),
            _ => {}
        }
        if matches!(answer, Answer::Accept(_) | Answer::Each(_)) {
            metrics.bytes.add(octets);
        }
    }

    /// The leg of the message, with the session's own steps before the first one's.
    fn tell(&mut self, message: Message, message_id: &str, octets: u64, micros: u64, answer: &Answer) {
        let mut leg = message.leg;
        let refused = match answer {
            Answer::Refuse(reply) => Some(reply),
            Answer::Each(replies) => replies.iter().find(|reply| !reply.is_positive()),
            _ => None,
        };
        leg.step("commit", micros, Some(format!("{octets} octets, id {}", message.id)));
        leg.outcome = match refused {
            None => Outcome::Ok,
            Some(reply) => {
                Outcome::Failed { cause: REFUSED, text: reply.to_string(), retry: reply.is_transient() }
            }
        };
        tracing::info!(session = %self.correlation, id = %message.id, message_id, octets,
            recipients = message.recipients.len(), outcome = %leg.outcome, "message");
        if let Some(legs) = &self.service.hub.legs {
            legs.leg(message_id, leg);
        }
    }
}

fn accepted(id: &str) -> Reply {
    Reply::with(250, Status(2, 0, 0), format!("Accepted as {id}"))
}

fn commit_failed(e: &CommitError) -> Reply {
    match e {
        CommitError::Full(_) => DISK_FULL,
        e => {
            tracing::warn!(error = %e, "message could not be queued");
            STORE_DOWN
        }
    }
}

/// The account that a recipient is, and where in it the message goes.
fn local_of(recipient: &Recipient, usual: Place) -> Option<Local> {
    match &recipient.meaning {
        Meaning::Account(account) => {
            Some(Local { account: account.id, place: recipient.place.unwrap_or(usual) })
        }
        _ => None,
    }
}

/// A single recipient that is an account: the common case, without looking any further.
fn direct(message: &Message, junk: bool) -> Option<Target> {
    let recipient = message.recipients.first()?;
    let Meaning::Account(account) = &recipient.meaning else { return None };
    let place = if junk { Place::Junk } else { Place::Inbox };
    let local = Some(Local { account: account.id, place });
    Some(Target { to: recipient.accepted.to.clone(), of: 0, local })
}

pub(super) fn note(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Pass => None,
        Verdict::Junk { why } => Some(format!("junk: {why}")),
        Verdict::Quarantine { why } => Some(format!("quarantine: {why}")),
        Verdict::Discard { why } => Some(format!("discard: {why}")),
        Verdict::Reject(reply) => Some(format!("reject: {reply}")),
        Verdict::Defer(reply) => Some(format!("defer: {reply}")),
    }
}

fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// The server that wrote a Received field.
fn received_by(value: &str) -> Option<String> {
    let mut words = value.split_ascii_whitespace();
    words.by_ref().find(|word| word.eq_ignore_ascii_case("by"))?;
    let name = words.next()?;
    let name: String =
        name.chars().filter(|c| c.is_alphanumeric() || ".-_:[]".contains(*c)).take(64).collect();
    (!name.is_empty()).then_some(name)
}
