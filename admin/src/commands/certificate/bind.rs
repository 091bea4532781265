//! Enable-, Disable- and Remove-ExchangeCertificate: which services show a certificate.

use super::show::{looked_at, record, shown_by};
use super::{Held, all, one, services, store};
use crate::certificates::bound;
use crate::commands::property::{self, refused};
use crate::failure::{Category, Failure, Outcome};
use crate::run::Call;
use crate::settings::{Edit, Scope, Settings};
use waypost_trust::certificate::Facts;
use waypost_trust::public::PublicService;
use waypost_trust::public::check::Problem;

/// Certificates that one service may show; each wants a name of its own.
const BOUND_MAX: usize = 100;

pub(super) async fn enable(call: &Call<'_>) -> Outcome {
    let chosen = services(call).await?;
    let settings = call.world()?.settings.current();
    let held = one(call, &settings, call.required("Thumbprint")?)?;
    bind(call, &settings, &held, &chosen).await?;
    shown(call, &held.entry.thumbprint).await
}

/// Looks at a certificate for each service, and binds it: refused with the reason, unless it is forced.
pub(super) async fn bind(
    call: &Call<'_>,
    settings: &Settings,
    held: &Held,
    chosen: &[PublicService],
) -> Outcome {
    let thumbprint = &held.entry.thumbprint;
    let Some(facts) = &held.entry.facts else {
        let text = format!(
            "{thumbprint} is a request. Import the certificate that the authority made of it with Import-ExchangeCertificate."
        );
        return Err(Failure::new(Category::InvalidOperation, thumbprint, text));
    };
    if held.default {
        let text = "This certificate is the one of the section tls: it is shown wherever no other is bound. \
                    Disable-ExchangeCertificate unbinds the others.";
        return Err(Failure::new(Category::InvalidOperation, thumbprint, text));
    }
    let (all, _) = all(call, settings)?;
    let mut edits = Vec::new();
    let (mut refusals, mut warnings): (Vec<Problem>, Vec<Problem>) = (Vec::new(), Vec::new());
    for service in chosen {
        let (stay, replaced) = partition(bound(settings, *service), thumbprint, facts, &all);
        if !replaced.is_empty() {
            let text = format!(
                "{service}: {} is no longer bound: the new one holds all its names.",
                replaced.join(", ")
            );
            call.warn(text).await;
        }
        let others: Vec<Facts> = all
            .iter()
            .filter(|h| stay.contains(&h.entry.thumbprint))
            .filter_map(|h| h.entry.facts.clone())
            .collect();
        for problem in looked_at(call, settings, held, *service, &others) {
            let list = if problem.refuses { &mut refusals } else { &mut warnings };
            if !list.iter().any(|p| p.text == problem.text) {
                list.push(problem);
            }
        }
        let mut list = vec![thumbprint.clone()];
        list.extend(stay);
        list.truncate(BOUND_MAX);
        edits.push(Edit::set(format!("certificates.{service}"), &list));
    }
    for warning in &warnings {
        call.warn(format!("{warning}. {}", warning.cause.remedy)).await;
    }
    let forced = judge(call, thumbprint, &refusals).await?;
    put(call, &edits, &format!("Binding {thumbprint} ({}) to {}.", facts.subject, list(chosen)), forced).await
}

/// Of what is bound: what stays beside a new one, and what it replaces since it holds all its names.
fn partition(bound: &[String], new: &str, facts: &Facts, all: &[Held]) -> (Vec<String>, Vec<String>) {
    let superseded = |thumbprint: &String| {
        let old = all.iter().find(|h| h.entry.thumbprint == *thumbprint).and_then(|h| h.entry.facts.as_ref());
        old.is_some_and(|old| {
            // `*.contoso.test` covers itself only as written.
            let held = |n: &String| facts.covers(n) || facts.names.iter().any(|m| m.eq_ignore_ascii_case(n));
            old.names.iter().all(held)
        })
    };
    let others = bound.iter().filter(|t| *t != new).cloned();
    let (replaced, stay) = others.partition(superseded);
    (stay, replaced)
}

/// The refusal, or what is to be noted of a forced binding.
async fn judge(call: &Call<'_>, thumbprint: &str, refusals: &[Problem]) -> Outcome<Option<String>> {
    let Some(first) = refusals.first() else { return Ok(None) };
    let reasons = refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if call.invocation.force {
        let now = call.directory()?.snapshot();
        let ours = now.here().filter(|_| now.servers().count() > 1);
        let undo = ours
            .map(|id| format!("Undo-WaypostSetting -Server {id}"))
            .unwrap_or("Undo-WaypostSetting".into());
        let text = format!("Bound by -Force, although {reasons}. {undo} takes it back.");
        call.warn(text).await;
        return Ok(Some(reasons));
    }
    let mut text = format!("The certificate is refused; nothing was changed. {reasons}.");
    for problem in refusals {
        text.push_str(&format!("\n    Remedy: {}", problem.cause.remedy));
    }
    text.push_str(
        "\n    -Force binds it all the same; that is noted, and Undo-WaypostSetting takes it back.",
    );
    let finding = serde_json::to_value(first.finding(call.context.clock.now())).ok().map(Box::new);
    Err(Failure { finding, ..Failure::new(Category::InvalidOperation, thumbprint, text) })
}

/// A change of the settings: rehearsed, kept as a version. Certificates are each server's own, so that with several
/// servers the binding stands in the server's own document.
async fn put(call: &Call<'_>, edits: &[Edit], what: &str, forced: Option<String>) -> Outcome {
    if edits.is_empty() {
        call.warn("No service was given.").await;
        return Ok(());
    }
    let world = call.world()?;
    let several = world.directory.snapshot().servers().count() > 1;
    let scope = if several { Scope::Server } else { Scope::Organisation };
    let _turn = world.settings.turn().await;
    let candidate = world.settings.plan(scope, edits).map_err(refused)?;
    property::settle_forced(call, &candidate, what, forced).await.map(drop)
}

fn list(services: &[PublicService]) -> String {
    services.iter().map(|s| s.name()).collect::<Vec<_>>().join(", ")
}

/// Shows it as it is now.
pub(super) async fn shown(call: &Call<'_>, thumbprint: &str) -> Outcome {
    if call.invocation.what_if {
        return Ok(());
    }
    let settings = call.world()?.settings.current();
    let held = one(call, &settings, thumbprint)?;
    call.record(record(call, &settings, &held)).await;
    Ok(())
}

pub(super) async fn disable(call: &Call<'_>) -> Outcome {
    let mut chosen = services(call).await?;
    let settings = call.world()?.settings.current();
    let wanted = call.required("Thumbprint")?;
    // One that is bound and not here can be unbound, too.
    let thumbprint =
        waypost_trust::public::store::thumbprint(wanted.rsplit('\\').next().unwrap_or(wanted))
            .ok_or_else(|| Failure::invalid("Thumbprint", format!("{wanted:?} is not a thumbprint.")))?;
    let is_bound = |service: &PublicService| bound(&settings, *service).contains(&thumbprint);
    if chosen.is_empty() {
        chosen = PublicService::ALL.to_vec();
    }
    chosen.retain(is_bound);
    if chosen.is_empty() {
        let held = one(call, &settings, &thumbprint)?;
        let text = if held.default {
            "This is the certificate of the section tls, which is shown where no other is bound. Bind another to the \
             service, or name other files in the section tls."
        } else {
            "The certificate is not bound to any of these services."
        };
        call.warn(text).await;
        return Ok(());
    }
    let mut edits = Vec::new();
    for service in &chosen {
        let left: Vec<String> =
            bound(&settings, *service).iter().filter(|t| **t != thumbprint).cloned().collect();
        if left.is_empty() {
            let chain = call.context.data.join(&settings.tls.certificate);
            let text = if chain.exists() {
                format!("{service} shows the certificate of the section tls from now on.")
            } else {
                format!("{service} has no certificate from now on: TLS is not offered.")
            };
            call.warn(text).await;
        }
        // An empty list rather than no list: with several servers the organisation's would come through.
        edits.push(Edit::set(format!("certificates.{service}"), &left));
    }
    put(call, &edits, &format!("Unbinding {thumbprint} from {}.", list(&chosen)), None).await?;
    if one(call, &settings, &thumbprint).is_ok() { shown(call, &thumbprint).await } else { Ok(()) }
}

pub(super) async fn remove(call: &Call<'_>) -> Outcome {
    let settings = call.world()?.settings.current();
    let held = one(call, &settings, call.required("Thumbprint")?)?;
    let thumbprint = &held.entry.thumbprint;
    if held.default {
        let text =
            "This is the certificate of the section tls. It is not in the store; its files are named there.";
        return Err(Failure::new(Category::InvalidOperation, thumbprint, text));
    }
    let shown = shown_by(&settings, &held);
    if !shown.is_empty() {
        let text = format!(
            "{} show this certificate. Unbind it first: Disable-ExchangeCertificate {thumbprint}.",
            list(&shown)
        );
        return Err(Failure::new(Category::InvalidOperation, thumbprint, text));
    }
    if call.only_said(|| format!("Removing the certificate {thumbprint} with its key.")).await {
        return Ok(());
    }
    Ok(store(call).remove(thumbprint)?)
}
