//! From the configuration to the parts of the library.

use std::sync::Arc;

use box_client::BoxClient;
use bridge::{
    Action, AdvanceStage, Attach, Backoff, BoxContent, Circuits, Commands, Folders, Layout,
    LayoutError, LogTask, MappingKeys, MappingTemplate, Metadata, PackageLinks, Pipeline,
    PipelineOptions, Provision, QueueAdmin, Records, Rule, SalesforceCrm, SyncMetadata,
    WorkerOptions,
    action::Collaborate,
    secrets::SecretStore,
    webhook::{SignatureKeys, Trigger, Verifier},
};
use salesforce_client::SalesforceClient;
use secrecy::SecretString;

use crate::{
    Failure,
    budget::Budget,
    config::{
        BoxAuth, BoxSide, Calls, Config, LinkVisibility, Package, SalesforceAuth, Secret,
        is_of_records,
    },
    events::{CLIENT_NAME, Sources},
    in_one_line, secrets as secret_store,
    store::Store,
    sync,
};

/// Everything that can be wrong with the configuration is found here, before anything starts.
pub(crate) struct Parts {
    pub(crate) verifier: Verifier,
    pub(crate) content: BoxContent,
    pub(crate) crm: SalesforceCrm,
    /// The way to both, shared by all that goes there.
    pub(crate) circuits: Circuits,
    pub(crate) budget: Budget,
    pub(crate) sources: Sources,
    pub(crate) rules: Vec<Rule>,
    /// Those of the rules, for whoever does it by hand.
    pub(crate) syncs: Vec<Arc<SyncMetadata>>,
}

/// What actions ask of both sides, behind the circuits.
#[derive(Clone)]
pub(crate) struct Ports {
    folders: Arc<dyn Folders>,
    pub(crate) metadata: Arc<dyn Metadata>,
    pub(crate) records: Arc<dyn Records>,
    package_links: Arc<dyn PackageLinks>,
}

impl Ports {
    pub(crate) fn new(content: &BoxContent, crm: &SalesforceCrm, circuits: &Circuits) -> Self {
        let (content, crm) = (Arc::new(content.clone()), Arc::new(crm.clone()));
        Self {
            folders: circuits.folders(content.clone()),
            metadata: circuits.metadata(content),
            records: circuits.records(crm.clone()),
            package_links: circuits.package_links(crm),
        }
    }
}

pub(crate) fn parts(
    config: &Config,
    secrets: Option<&Arc<dyn SecretStore>>,
) -> Result<Parts, Failure> {
    let mut problems = Problems(Vec::new());
    let budget = Budget::new(&config.salesforce.budget);
    let circuits = Circuits::default();
    let worker = &config.worker;
    circuits.open_after(
        worker.outage_after,
        worker.outage_pause.0,
        worker.longest_outage_pause.0,
    );
    let verifier = problems.take("webhook", verifier(config));
    let content = problems.take("box", content(config, secrets));
    let client = problems.take("salesforce", crm_client(config, secrets, &budget));
    let sources = client.as_ref().and_then(|client| {
        problems.take("salesforce.events", Sources::new(config, client, &circuits))
    });
    let crm = client.map(|client| crm(config, client));
    let ports = content.as_ref().zip(crm.as_ref());
    let ports = ports.map(|(content, crm)| Ports::new(content, crm, &circuits));
    // One for all: what no template can have is found here.
    let template = Arc::new(MappingTemplate::new());
    let syncs: Vec<_> = config
        .rules
        .iter()
        .map(|it| {
            let action = sync::action(it, ports.as_ref(), mapping_keys(config), &template);
            problems.take(&format!("rule `{}`", it.name), action)
        })
        .collect();
    let rules: Vec<_> = config
        .rules
        .iter()
        .zip(&syncs)
        .filter_map(|(it, sync)| {
            let sync = sync.as_ref()?.as_ref();
            problems.take(
                &format!("rule `{}`", it.name),
                rule(it, &config.content, ports.as_ref(), sync, &template),
            )
        })
        .flatten()
        .collect();
    match (verifier, content, crm.zip(sources), problems.0.is_empty()) {
        (Some(verifier), Some(content), Some((crm, sources)), true) => Ok(Parts {
            verifier,
            content,
            crm,
            circuits,
            budget,
            sources,
            rules,
            syncs: syncs.into_iter().flatten().flatten().collect(),
        }),
        _ => Err(Failure::Setup(problems.0)),
    }
}

pub(crate) fn pipeline(config: &Config, parts: Parts, store: &Store) -> Pipeline {
    let mut options = PipelineOptions::default();
    options.settle_after = config.worker.settle_after.0;
    options.settle_uploads_after = match config.salesforce.version_key_field {
        // Salesforce refuses a second version, however late the first one lands.
        Some(_) => options.settle_after,
        None => (options.settle_after).max(config.salesforce.upload_answer_timeout.0),
    };
    options.overtaken_within = config.worker.overtaken_within.0;
    options.outage_after = config.worker.outage_after;
    options.outage_pause = config.worker.outage_pause.0;
    options.longest_outage_pause = config.worker.longest_outage_pause.0;
    options.compare_checksums = config.worker.compare_checksums;
    options.transfers = config.worker.transfers;
    let Parts {
        content,
        crm,
        circuits,
        rules,
        ..
    } = parts;
    let records = Arc::new(crm.clone());
    Pipeline::new(
        Arc::new(content),
        Arc::new(crm),
        Arc::clone(&store.ledger),
        rules,
    )
    .behind(&circuits)
    .clock(Arc::clone(&store.clock))
    .inbox(store.queue.clone())
    .records(records)
    .mapping_keys(mapping_keys(config))
    .options(options)
}

/// Takes commands into this inbox, as far as the configuration has something for them.
pub(crate) fn commands(parts: &Parts, queue: Arc<dyn QueueAdmin>) -> Commands {
    Commands::new(queue, Arc::new(parts.crm.clone()))
        .content(Arc::new(parts.content.clone()))
        .rules(parts.rules.clone())
}

pub(crate) fn mapping_keys(config: &Config) -> MappingKeys {
    let mut keys = MappingKeys::default();
    keys.opportunity.clone_from(&config.content.opportunity_key);
    keys.account.clone_from(&config.content.account_key);
    keys.remember = config.content.remember_mapping.0;
    keys.remember_none = config.content.remember_unmapped.0;
    keys
}

pub(crate) fn worker_options(config: &Config) -> WorkerOptions {
    let mut backoff = Backoff::default();
    backoff.base = config.retry.base.0;
    backoff.max_delay = config.retry.max_delay.0;
    backoff.jitter = config.retry.jitter.0;
    backoff.max_attempts = config.retry.max_attempts;
    backoff.max_age = config.retry.max_age.0;
    let mut options = WorkerOptions::default();
    options.concurrency = config.worker.concurrency;
    options.lease = config.worker.lease.0;
    options.poll = config.worker.poll.0;
    options.grace = config.worker.grace.0;
    options.backoff = backoff;
    options
}

struct Problems(Vec<String>);

impl Problems {
    fn take<T>(&mut self, place: &str, result: Result<T, String>) -> Option<T> {
        result
            .map_err(|problem| self.0.push(format!("{place}: {problem}")))
            .ok()
    }
}

pub(crate) fn verifier(config: &Config) -> Result<Verifier, String> {
    let read = |key: &Option<Secret>| key.as_ref().map(Secret::read).transpose();
    let keys = SignatureKeys::new(
        read(&config.webhook.primary_key)?,
        read(&config.webhook.secondary_key)?,
    );
    let keys = keys.map_err(|error| in_one_line(&error))?;
    Ok(Verifier::new(keys)
        .max_age(config.webhook.max_age.0)
        .max_ahead(config.webhook.max_ahead.0))
}

pub(crate) fn content(
    config: &Config,
    secrets: Option<&Arc<dyn SecretStore>>,
) -> Result<BoxContent, String> {
    let side = &config.content;
    let calls = &side.calls;
    let builder = match &side.auth {
        BoxAuth::ClientCredentials {
            client_id,
            client_secret,
            enterprise_id,
            user_id,
        } => {
            let subject = match (enterprise_id, user_id) {
                (Some(id), _) => box_client::Subject::Enterprise(id.clone()),
                (None, Some(id)) => box_client::Subject::User(id.clone()),
                (None, None) => return Err("auth: set enterprise_id or user_id".to_owned()),
            };
            let secret = client_secret.read()?;
            BoxClient::builder(box_client::ClientCredentials::new(
                client_id, secret, subject,
            ))
        }
        BoxAuth::RefreshToken {
            client_id,
            client_secret,
            grant,
        } => BoxClient::builder(box_client::RefreshToken::new(
            client_id,
            client_secret.read()?,
            secret_store::grant(secrets, grant)?,
        )),
        BoxAuth::DeveloperToken { token } => {
            BoxClient::builder(box_client::DeveloperToken::new(token.read()?))
        }
    };
    let client = builder
        .base_url(&side.base_url)
        .retry(box_retry(calls))
        .connect_timeout(calls.connect_timeout.0)
        .idle_timeout(calls.idle_timeout.0)
        .build()
        .map_err(|error| in_one_line(&error))?;
    Ok(BoxContent::new(
        client,
        &side.metadata_scope,
        &side.metadata_template,
    ))
}

pub(crate) fn crm_client(
    config: &Config,
    secrets: Option<&Arc<dyn SecretStore>>,
    budget: &Budget,
) -> Result<SalesforceClient, String> {
    let side = &config.salesforce;
    let calls = &side.calls;
    let said = |error: salesforce_client::Error| in_one_line(&error);
    let builder = match &side.auth {
        SalesforceAuth::Jwt {
            client_id,
            username,
            private_key,
            audience,
        } => {
            let key: SecretString = private_key.read()?;
            let jwt = salesforce_client::JwtBearer::new(client_id, username, &key).map_err(said)?;
            SalesforceClient::builder(match audience {
                Some(audience) => jwt.audience(audience),
                None => jwt,
            })
        }
        SalesforceAuth::ClientCredentials {
            client_id,
            client_secret,
        } => {
            let secret = client_secret.read()?;
            SalesforceClient::builder(salesforce_client::ClientCredentials::new(client_id, secret))
        }
        SalesforceAuth::RefreshToken {
            client_id,
            client_secret,
            grant,
        } => {
            let secret = client_secret.as_ref().map(Secret::read).transpose()?;
            let store = secret_store::grant(secrets, grant)?;
            SalesforceClient::builder(salesforce_client::RefreshToken::new(
                client_id, secret, store,
            ))
        }
        SalesforceAuth::Token {
            token,
            instance_url,
        } => SalesforceClient::builder(
            salesforce_client::StaticToken::new(token.read()?, instance_url).map_err(said)?,
        ),
    };
    builder
        .login_url(&side.login_url)
        .api_version(&side.api_version)
        .client_name(CLIENT_NAME)
        .retry(salesforce_retry(calls))
        .connect_timeout(calls.connect_timeout.0)
        .idle_timeout(calls.idle_timeout.0)
        .token_lifetime(side.session_lifetime.0)
        .upload_answer_timeout(side.upload_answer_timeout.0)
        .governor(&budget.governor)
        .build()
        .map_err(said)
}

pub(crate) fn box_retry(calls: &Calls) -> box_client::RetryPolicy {
    box_client::RetryPolicy::default()
        .max_attempts(calls.max_attempts)
        .delays(calls.first_delay.0, calls.max_delay.0)
        .deadline(calls.deadline.0)
}

pub(crate) fn salesforce_retry(calls: &Calls) -> salesforce_client::RetryPolicy {
    salesforce_client::RetryPolicy::default()
        .max_attempts(calls.max_attempts)
        .delays(calls.first_delay.0, calls.max_delay.0)
        .deadline(calls.deadline.0)
}

fn crm(config: &Config, client: SalesforceClient) -> SalesforceCrm {
    let side = &config.salesforce;
    SalesforceCrm::new(client)
        .version_key_field(side.version_key_field.clone())
        .task_key_field(side.task_key_field.clone())
        .task_status(&side.task_status)
        .remember_stages(side.remember_stages.0)
        .linger(side.linger.0)
        .bulk_from(side.bulk_from)
        .link_visibility(match side.link_visibility {
            LinkVisibility::AllUsers => salesforce_client::Visibility::AllUsers,
            LinkVisibility::InternalUsers => salesforce_client::Visibility::InternalUsers,
        })
}

/// A rule; none where the sides that its actions work on could not be built.
fn rule(
    rule: &crate::config::Rule,
    side: &BoxSide,
    ports: Option<&Ports>,
    sync: Option<&Arc<SyncMetadata>>,
    template: &Arc<MappingTemplate>,
) -> Result<Option<Rule>, String> {
    for trigger in rule.triggers.iter().filter(|it| !is_of_records(it)) {
        Trigger::for_registration(trigger).map_err(|error| error.to_string())?;
    }
    let mut actions: Vec<Arc<dyn Action>> = Vec::new();
    if let Some(targets) = &rule.attach {
        actions.push(Arc::new(Attach::to(targets.clone())));
    }
    if let Some(stage) = &rule.advance_stage {
        actions.push(Arc::new(AdvanceStage::new(stage)));
    }
    if let Some(task) = &rule.log_task {
        let template = |text: &str| {
            text.parse()
                .map_err(|error| format!("log_task: {}", in_one_line(&error)))
        };
        let mut log = LogTask::new(template(&task.subject)?, template(&task.description)?);
        if let (Some(whom), Some(ports)) = (task.contact, ports) {
            log = log.contact(whom, task.several_contacts, Arc::clone(&ports.records));
        }
        if let Some(every) = &task.digest {
            log = log.digest(every.0);
        }
        actions.push(Arc::new(log));
    }
    if let Some(wanted) = &rule.provision {
        let Some(ports) = ports else {
            return Ok(None);
        };
        let provision = provision(wanted, side, ports)?.template(template.clone());
        let provision = provision.map_err(|error| format!("provision.fields: {error}"))?;
        actions.push(Arc::new(provision));
    }
    match (sync, &rule.sync_metadata) {
        (Some(sync), _) => actions.push(sync.clone()),
        (None, Some(_)) if ports.is_none() => return Ok(None),
        (None, _) => {}
    }
    let said = |error: bridge::RuleError| in_one_line(&error);
    let mut built = Rule::new(&rule.name, rule.triggers.clone(), actions).map_err(said)?;
    if let Some(folder) = &rule.folder {
        built = built.in_folder(folder).map_err(said)?;
    }
    if let Some(file) = &rule.file {
        built = built.for_files(file).map_err(said)?;
    }
    if let Some(versions) = rule.versions {
        built = built.for_versions(versions);
    }
    Ok(Some(built))
}

pub(crate) fn provision(
    wanted: &crate::config::Provision,
    side: &BoxSide,
    ports: &Ports,
) -> Result<Provision, String> {
    let said = |error: LayoutError| format!("provision.layout: {error}");
    let layout = Layout::new(&wanted.layout).map_err(said)?;
    let Ports {
        folders,
        metadata,
        records,
        package_links,
    } = ports.clone();
    let mut provision = Provision::new(folders, metadata, records, layout)
        .root(&wanted.root)
        .key("Opportunity", &side.opportunity_key)
        .key("Account", &side.account_key)
        .notify(wanted.notify)
        .keep_former_owner(wanted.keep_former_owner)
        .follow_names(wanted.follow_names)
        .follow_parents(wanted.follow_parents)
        .link_base(&wanted.link_base);
    for field in &wanted.fields {
        let Some((object, from)) = field.from.split_once('.') else {
            return Err(format!(
                "provision.fields: `{}` is no field; write it as Opportunity.StageName",
                field.from
            ));
        };
        provision = provision.field(&field.key, field.kind, object, from);
    }
    let collaborators = wanted.collaborators.iter().map(|it| {
        let who = it
            .who()
            .map_err(|problem| format!("provision.collaborators: {problem}"))?;
        let role = it.role.clone();
        Ok(Collaborate { who, role })
    });
    provision = provision.collaborators(collaborators.collect::<Result<Vec<_>, String>>()?);
    if let Some(field) = &wanted.link_field {
        provision = provision.link_field(field);
    }
    Ok(match wanted.package {
        Package::Ignore => provision,
        Package::Adopt => provision.package(package_links, false),
        Package::Share => provision.package(package_links, true),
    })
}
