//! How many calls a file costs, with everything remembered that can be remembered.

use crate::setting::Setting;

fn only_attach(configuration: String) -> String {
    configuration
        .replace("advance_stage = \"Negotiation/Review\"\n", "")
        .replace("log_task = { subject = \"{file.name} came\" }\n", "")
}

impl Setting {
    /// What the event of this upload makes the service ask for: at Salesforce, and at Box.
    async fn asked_for(
        &self,
        events: usize,
        upload: impl AsyncFnOnce(),
    ) -> (Vec<String>, Vec<String>) {
        self.crm.clear_requests();
        self.content.clear_requests();
        upload().await;
        self.wait_done(events).await;
        let crm = self.crm.requests().into_iter();
        let content = self.content.requests().into_iter();
        (
            crm.map(|it| shape(&it.method, &it.path)).collect(),
            content.map(|it| shape(&it.method, &it.path)).collect(),
        )
    }
}

/// A request with names in place of ids.
fn shape(method: &str, path: &str) -> String {
    let is_id = |part: &&str| {
        part.bytes().any(|byte| byte.is_ascii_digit()) && !part.contains('.')
            || part.len() > 15
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
                && part.starts_with("00")
    };
    let parts = path.trim_start_matches("/services/data/v58.0").split('/');
    let parts: Vec<_> = parts
        .map(|it| if is_id(&it) { "{id}" } else { it })
        .collect();
    format!("{method} {}", parts.join("/"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_file_takes_two_calls_to_salesforce_and_one_with_its_redirect_to_box() {
    let setting = Setting::with(only_attach, true).await;
    let _server = setting.serve_until_ready().await;
    setting.upload("first.pdf", "first").await;
    setting.wait_done(1).await;

    let mut file = None;
    let (crm, content) = setting
        .asked_for(2, async || {
            file = Some(setting.upload("second.pdf", "second").await);
        })
        .await;
    assert_eq!(
        crm,
        // The second reads the document's id and the stored size, and links the Account.
        ["POST /sobjects/ContentVersion", "POST /composite"]
    );
    assert_eq!(content.len(), 2, "{content:?}");
    assert_eq!(content[0], "GET /2.0/files/{id}/content");
    let file = file.unwrap().file_id;
    setting.assert_once(&file, &[b"second".to_vec()]);

    let (crm, content) = setting
        .asked_for(3, async || {
            let upload = setting.content.upload_version(&file, "third").unwrap();
            for event in &upload.event_ids {
                let patience = crate::setting::PATIENCE;
                setting
                    .content
                    .wait_delivered(event, patience)
                    .await
                    .unwrap();
            }
        })
        .await;
    assert_eq!(
        crm,
        // It is linked already.
        [
            "POST /sobjects/ContentVersion",
            "GET /sobjects/ContentVersion/{id}"
        ]
    );
    assert_eq!(content.len(), 3, "{content:?}");
    // Only a further version can have been overtaken by another.
    assert_eq!(content[0], "GET /2.0/files/{id}/versions");
    setting.assert_once(&file, &[b"second".to_vec(), b"third".to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stage_and_the_task_take_a_call_each_besides() {
    let setting = Setting::up().await;
    let _server = setting.serve_until_ready().await;
    setting.upload("first.pdf", "first").await;
    setting.wait_done(1).await;
    let (crm, _) = setting
        .asked_for(2, async || {
            setting.upload("second.pdf", "second").await;
        })
        .await;
    assert_eq!(
        crm,
        [
            "POST /sobjects/ContentVersion",
            "POST /composite",
            "GET /sobjects/Opportunity/{id}",
            "POST /sobjects/Task"
        ]
    );
}
