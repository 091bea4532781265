//! Watching certificates while they are shown: files that change, ends that come nearer, names that clients ask for.
//!
//! Each thing that is wrong is told once when it begins, and once when it is over. What is known is also in
//! `public/watch.json`, for health and for commands.

use super::{Pair, Publics, Shelf};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use waypost_admin::certificates::bound;
use waypost_base::metrics::{Figure, Kind};
use waypost_trust::public::check::{Problem, warning_due};
use waypost_trust::public::{PublicService, seen::Seen};

/// How often files are looked at: a new certificate is shown within this time, without anybody's doing.
const LOOK: Duration = Duration::from_secs(5);
/// How often ends and tallies are looked at.
const TICKS_PER_CHECK: u32 = 12;
/// Series of one figure; old certificates go from the list when the process ends.
const SERIES_MAX: usize = 256;

/// Tells of what began and of what is over.
pub(super) fn tell(
    before: &BTreeMap<PublicService, Vec<Problem>>,
    now: &BTreeMap<PublicService, Vec<Problem>>,
    shelves: &BTreeMap<PublicService, Shelf>,
) {
    for service in PublicService::ALL {
        let none = Vec::new();
        let (old, new) = (before.get(&service).unwrap_or(&none), now.get(&service).unwrap_or(&none));
        let dark = shelves.get(&service).is_none_or(Shelf::is_empty);
        for problem in new.iter().filter(|p| !is_among(old, p)) {
            let (code, text) = (problem.cause.code, &problem.text);
            match (dark, problem.refuses) {
                (true, true) => {
                    tracing::error!(%service, code, remedy = problem.cause.remedy, "no TLS for clients: {text}");
                }
                (false, true) => {
                    tracing::warn!(%service, code, remedy = problem.cause.remedy, "certificate: {text}")
                }
                (_, false) => tracing::info!(%service, code, "certificate: {text}"),
            }
        }
        for problem in old.iter().filter(|p| !is_among(new, p)) {
            tracing::info!(%service, code = problem.cause.code, "certificate: over: {}", problem.text);
        }
    }
}

/// Texts hold times that pass; what it is about stays the same.
fn is_among(list: &[Problem], problem: &Problem) -> bool {
    list.iter().any(|p| p.cause.code == problem.cause.code && p.source == problem.source)
}

impl Publics {
    /// Watches files, ends and names until told to stop.
    pub async fn watch(self, mut stop: watch::Receiver<bool>) {
        let mut files = self.stamp();
        let mut warned = self.warned();
        let mut tick = 0u32;
        self.look_at_ends(&mut warned);
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = stop.wait_for(|stop| *stop) => {
                    self.keep_names();
                    return;
                }
            }
            let now = self.stamp();
            if now != files {
                files = now;
                self.refresh();
                tracing::info!("certificate files have changed and were read again");
            }
            tick = tick.wrapping_add(1);
            if tick.is_multiple_of(TICKS_PER_CHECK) {
                self.look_at_ends(&mut warned);
                self.keep_names();
            }
        }
    }

    /// Sizes and times of all files that are shown or bound.
    fn stamp(&self) -> BTreeMap<PathBuf, Option<(u64, SystemTime)>> {
        let settings = self.settings();
        let inside = &self.0;
        let mut paths: Vec<PathBuf> =
            [&settings.tls.certificate, &settings.tls.key].map(|p| inside.data.join(p)).to_vec();
        for thumbprint in PublicService::ALL.into_iter().flat_map(|s| bound(&settings, s)) {
            paths.push(inside.store.chain_file(thumbprint));
            paths.push(inside.store.key_file(thumbprint));
        }
        let look = |path: &Path| {
            let meta = std::fs::metadata(path).ok()?;
            Some((meta.len(), meta.modified().ok()?))
        };
        paths.into_iter().map(|path| (path.clone(), look(&path))).collect()
    }

    /// Every certificate that is shown, with the services that show it.
    fn shown_pairs(&self) -> BTreeMap<String, (Arc<Pair>, BTreeSet<PublicService>)> {
        self.read(|state| {
            let mut all: BTreeMap<String, (Arc<Pair>, BTreeSet<PublicService>)> = BTreeMap::new();
            for (service, shelf) in &state.shelves {
                // The default stands behind bound ones, too, but nobody would renew it for that.
                let default = shelf.default.iter().filter(|_| shelf.bound.is_empty());
                for pair in shelf.bound.iter().chain(default) {
                    let entry = all.entry(pair.facts.thumbprint.clone());
                    entry.or_insert_with(|| (Arc::clone(pair), BTreeSet::new())).1.insert(*service);
                }
            }
            all
        })
    }

    fn record_file(&self) -> PathBuf {
        self.0.data.join("public/watch.json")
    }

    /// What was warned of by earlier runs: days, by thumbprint.
    fn warned(&self) -> BTreeMap<String, i64> {
        let text = std::fs::read(self.record_file()).unwrap_or_default();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
        let all = record["certificates"].as_array().into_iter().flatten();
        all.filter_map(|c| Some((c["thumbprint"].as_str()?.to_owned(), c["warned_days"].as_i64()?))).collect()
    }

    /// Warns when 30, 14, 7, 3 days and one are left, each once, and writes down how things stand.
    fn look_at_ends(&self, warned: &mut BTreeMap<String, i64>) {
        let now = self.0.clock.now();
        let mut list = Vec::new();
        for (thumbprint, (pair, services)) in self.shown_pairs() {
            let facts = &pair.facts;
            let services: Vec<&str> = services.iter().map(|s| s.name()).collect();
            let due = warning_due(facts, now);
            if let Some(days) = due
                && warned.get(&thumbprint).is_none_or(|told| days < *told)
            {
                warned.insert(thumbprint.clone(), days);
                let services = services.join(", ");
                let (subject, end) = (&facts.subject, facts.not_after);
                if end < now {
                    tracing::warn!(
                        services,
                        thumbprint,
                        "the certificate {subject} has expired at {end}: renew and bind a new one"
                    );
                } else {
                    tracing::warn!(
                        services,
                        thumbprint,
                        "the certificate {subject} expires at {end}, in {days} days at most: renew it"
                    );
                }
            }
            list.push(serde_json::json!({
                "thumbprint": thumbprint,
                "subject": facts.subject,
                "services": services,
                "not_after": facts.not_after.to_string(),
                "warned_days": warned.get(&thumbprint),
            }));
        }
        let record = serde_json::json!({
            "checked": now.to_string(),
            "certificates": list,
            "findings": self.findings(),
        });
        if let Err(e) = waypost_trust::files::write_public(&self.record_file(), &format!("{record:#}\n")) {
            tracing::warn!(error = %e, "what is known of certificates was not written down");
        }
    }

    fn keep_names(&self) {
        let inside = &self.0;
        let seen = inside.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if seen != Seen::load(&inside.data)
            && let Err(e) = seen.save(&inside.data)
        {
            tracing::warn!(error = %e, "the names that clients ask for were not written down");
        }
    }

    /// Seconds until the end of each certificate that is shown; negative when it is over.
    pub fn figures(&self) -> Vec<Figure> {
        let now = self.0.clock.now();
        let mut all = Vec::new();
        for (thumbprint, (pair, services)) in self.shown_pairs() {
            for service in services {
                let Some(name) = series(service, &thumbprint) else { continue };
                let help = "Seconds until the certificate that clients of a service are shown expires.";
                let value = pair.facts.not_after.since(now) as f64 / 1000.0;
                all.push(Figure { name, help, kind: Kind::Gauge, value });
            }
        }
        all
    }
}

/// The name of a series with its labels, which has to live as long as the process: one for each certificate and service.
fn series(service: PublicService, thumbprint: &str) -> Option<&'static str> {
    static NAMES: Mutex<BTreeMap<(PublicService, String), &'static str>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let key = (service, thumbprint.to_owned());
    if let Some(name) = names.get(&key) {
        return Some(name);
    }
    if names.len() >= SERIES_MAX {
        return None;
    }
    let text = format!("certificate_expiry_seconds{{service=\"{service}\",thumbprint=\"{thumbprint}\"}}");
    let name: &'static str = Box::leak(text.into_boxed_str());
    names.insert(key, name);
    Some(name)
}
