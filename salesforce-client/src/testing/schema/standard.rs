use serde_json::json;

use super::define::{boolean, id_field, long_text, of, picklist, reference, text};
use super::{FieldType, ObjectDef};

/// The objects of a fresh developer org, with the fields that integrations use.
pub(super) fn objects() -> Vec<ObjectDef> {
    vec![
        account(),
        contact(),
        opportunity(),
        opportunity_stage(),
        opportunity_contact_role(),
        task(),
        task_status(),
        user(),
        content_version(),
        content_document(),
        content_document_link(),
        event(),
        lead(),
        case(),
        permission_set(),
        field_permissions(),
        permission_set_assignment(),
    ]
}

fn permission_set() -> ObjectDef {
    ObjectDef::new("PermissionSet", "0PS").without_owner(vec![
        text("Name", 80).required(),
        text("Label", 80).required(),
        text("Description", 255),
    ])
}

fn field_permissions() -> ObjectDef {
    ObjectDef::new("FieldPermissions", "01k").without_owner(vec![
        reference("ParentId", &["PermissionSet"], "Parent").required(),
        text("SobjectType", 40).required(),
        text("Field", 255).required(),
        boolean("PermissionsRead"),
        boolean("PermissionsEdit"),
    ])
}

fn permission_set_assignment() -> ObjectDef {
    ObjectDef::new("PermissionSetAssignment", "0Pa").without_owner(vec![
        reference("PermissionSetId", &["PermissionSet"], "PermissionSet").required(),
        reference("AssigneeId", &["User"], "Assignee").required(),
    ])
}

const LEAD_SOURCES: &[&str] = &[
    "Web",
    "Phone Inquiry",
    "Partner Referral",
    "Purchased List",
    "Other",
];
/// The status of leads that were converted.
pub(in crate::testing) const CONVERTED: &str = "Closed - Converted";
const SALUTATIONS: &[&str] = &["Mr.", "Ms.", "Mrs.", "Dr.", "Prof."];

fn account() -> ObjectDef {
    ObjectDef::new("Account", "001").linkable().with(vec![
        text("Name", 255).required(),
        reference("ParentId", &["Account"], "Parent"),
        text("AccountNumber", 40),
        picklist(
            "Type",
            &[
                "Prospect",
                "Customer - Direct",
                "Customer - Channel",
                "Other",
            ],
        ),
        picklist(
            "Industry",
            &["Banking", "Consulting", "Finance", "Technology", "Other"],
        ),
        picklist("AccountSource", LEAD_SOURCES),
        of("Website", FieldType::Url, 255),
        of("Phone", FieldType::Phone, 40),
        of("BillingStreet", FieldType::Textarea, 255),
        text("BillingCity", 40),
        text("BillingState", 80),
        text("BillingPostalCode", 20),
        text("BillingCountry", 80),
        of("AnnualRevenue", FieldType::Currency, 0),
        of("NumberOfEmployees", FieldType::Int, 0),
        long_text("Description"),
    ])
}

fn contact() -> ObjectDef {
    ObjectDef::new("Contact", "003").linkable().with(vec![
        reference("AccountId", &["Account"], "Account"),
        text("LastName", 80).required(),
        text("FirstName", 40),
        picklist("Salutation", SALUTATIONS),
        text("Name", 121).read_only(),
        of("Email", FieldType::Email, 80).id_lookup(),
        of("Phone", FieldType::Phone, 40),
        of("MobilePhone", FieldType::Phone, 40),
        text("Title", 128),
        text("Department", 80),
        of("MailingStreet", FieldType::Textarea, 255),
        text("MailingCity", 40),
        text("MailingState", 80),
        text("MailingPostalCode", 20),
        text("MailingCountry", 80),
        picklist("LeadSource", LEAD_SOURCES),
        reference("ReportsToId", &["Contact"], "ReportsTo"),
        of("Birthdate", FieldType::Date, 0),
        long_text("Description"),
    ])
}

fn opportunity() -> ObjectDef {
    ObjectDef::new("Opportunity", "006").linkable().with(vec![
        text("Name", 120).required().id_lookup(),
        reference("AccountId", &["Account"], "Account"),
        reference("ContactId", &["Contact"], "Contact").create_only(),
        picklist("StageName", &[]).required(),
        of("CloseDate", FieldType::Date, 0).required(),
        of("Amount", FieldType::Currency, 0),
        of("Probability", FieldType::Percent, 0),
        of("ExpectedRevenue", FieldType::Currency, 0).read_only(),
        picklist("Type", &["Existing Business", "New Business"]),
        text("NextStep", 255),
        picklist("LeadSource", LEAD_SOURCES),
        boolean("IsClosed").read_only(),
        boolean("IsWon").read_only(),
        boolean("IsPrivate"),
        picklist("ForecastCategory", &[]).read_only(),
        picklist("ForecastCategoryName", &[]),
        long_text("Description"),
    ])
}

fn opportunity_stage() -> ObjectDef {
    ObjectDef::new("OpportunityStage", "01J")
        .set_up_by_people()
        .without_owner(vec![
            text("ApiName", 255),
            text("MasterLabel", 255),
            boolean("IsActive").defaulted(json!(true)),
            boolean("IsClosed"),
            boolean("IsWon"),
            of("SortOrder", FieldType::Int, 0),
            of("DefaultProbability", FieldType::Percent, 0),
            picklist("ForecastCategory", &[]),
            picklist("ForecastCategoryName", &[]),
            text("Description", 255),
        ])
}

fn opportunity_contact_role() -> ObjectDef {
    ObjectDef::new("OpportunityContactRole", "00K").without_owner(vec![
        reference("OpportunityId", &["Opportunity"], "Opportunity")
            .required()
            .create_only(),
        reference("ContactId", &["Contact"], "Contact").required(),
        picklist(
            "Role",
            &["Business User", "Decision Maker", "Economic Buyer", "Other"],
        ),
        boolean("IsPrimary"),
    ])
}

fn task() -> ObjectDef {
    let subtypes = &["Task", "Call", "Email", "ListEmail", "Cadence", "LinkedIn"];
    ObjectDef::new("Task", "00T").linkable().with(vec![
        reference("WhoId", &["Contact", "Lead"], "Who"),
        reference("WhatId", &["Account", "Opportunity", "Case"], "What"),
        of("Subject", FieldType::Combobox, 255),
        of("ActivityDate", FieldType::Date, 0),
        picklist("Status", &[]).defaulted(json!("Not Started")),
        picklist("Priority", &["High", "Normal", "Low"]).defaulted(json!("Normal")),
        boolean("IsHighPriority").read_only(),
        long_text("Description"),
        reference("AccountId", &["Account"], "Account").read_only(),
        boolean("IsClosed").read_only(),
        of("CompletedDateTime", FieldType::Datetime, 0).read_only(),
        picklist("TaskSubtype", subtypes)
            .restricted()
            .defaulted(json!("Task"))
            .create_only(),
        of("CallDurationInSeconds", FieldType::Int, 0),
        picklist("CallType", &["Internal", "Inbound", "Outbound"]),
        text("CallDisposition", 255),
        text("CallObject", 255),
        boolean("IsReminderSet"),
        of("ReminderDateTime", FieldType::Datetime, 0),
    ])
}

fn task_status() -> ObjectDef {
    ObjectDef::new("TaskStatus", "01T")
        .set_up_by_people()
        .without_owner(vec![
            text("ApiName", 255),
            text("MasterLabel", 255),
            boolean("IsClosed"),
            boolean("IsDefault"),
            of("SortOrder", FieldType::Int, 0),
        ])
}

fn user() -> ObjectDef {
    ObjectDef::new("User", "005")
        .set_up_by_people()
        .linkable()
        .without_owner(vec![
            text("Username", 80).required(),
            text("LastName", 80).required(),
            text("FirstName", 40),
            text("Name", 121).read_only(),
            of("Email", FieldType::Email, 128).required(),
            text("Alias", 8),
            boolean("IsActive").defaulted(json!(true)),
        ])
}

fn content_version() -> ObjectDef {
    ObjectDef::new("ContentVersion", "068")
        .undeletable()
        .with(vec![
            reference("ContentDocumentId", &["ContentDocument"], "ContentDocument").create_only(),
            boolean("IsLatest").read_only(),
            text("VersionNumber", 20).read_only(),
            text("Title", 255),
            text("Description", 1000),
            text("ReasonForChange", 1000),
            picklist("SharingOption", &["A", "R"])
                .restricted()
                .defaulted(json!("A")),
            picklist("SharingPrivacy", &["N", "P"])
                .restricted()
                .defaulted(json!("N")),
            text("PathOnClient", 500).create_only(),
            picklist("PublishStatus", &[]).read_only(),
            reference("FirstPublishLocationId", &[], "FirstPublishLocation").create_only(),
            picklist("Origin", &["C", "H"])
                .restricted()
                .defaulted(json!("C"))
                .create_only(),
            picklist("ContentLocation", &["S"])
                .restricted()
                .defaulted(json!("S"))
                .create_only(),
            of("ContentModifiedDate", FieldType::Datetime, 0),
            boolean("IsMajorVersion")
                .defaulted(json!(true))
                .create_only(),
            of("TagCsv", FieldType::Textarea, 2000),
            text("FileType", 20).read_only(),
            text("FileExtension", 40).read_only(),
            of("ContentSize", FieldType::Int, 0).read_only(),
            text("Checksum", 50).read_only(),
            of("VersionData", FieldType::Base64, 0)
                .create_only()
                .not_filterable(),
        ])
}

fn content_document() -> ObjectDef {
    ObjectDef::new("ContentDocument", "069")
        .uncreateable()
        .with(vec![
            text("Title", 255),
            text("Description", 1000),
            reference(
                "LatestPublishedVersionId",
                &["ContentVersion"],
                "LatestPublishedVersion",
            )
            .read_only(),
            picklist("PublishStatus", &[]).read_only(),
            boolean("IsArchived"),
            text("FileType", 20).read_only(),
            text("FileExtension", 40).read_only(),
            of("ContentSize", FieldType::Int, 0).read_only(),
            picklist("SharingOption", &["A", "R"])
                .restricted()
                .defaulted(json!("A")),
            picklist("SharingPrivacy", &["N", "P"])
                .restricted()
                .defaulted(json!("N")),
        ])
}

fn content_document_link() -> ObjectDef {
    let visibilities = &["AllUsers", "InternalUsers", "SharedUsers"];
    let mut object = ObjectDef::new("ContentDocumentLink", "06A");
    object.fields = vec![
        id_field(),
        reference("LinkedEntityId", &[], "LinkedEntity")
            .required()
            .create_only(),
        reference("ContentDocumentId", &["ContentDocument"], "ContentDocument")
            .required()
            .create_only(),
        boolean("IsDeleted").read_only(),
        of("SystemModstamp", FieldType::Datetime, 0).read_only(),
        picklist("ShareType", &["V", "C", "I"])
            .restricted()
            .required(),
        picklist("Visibility", visibilities)
            .restricted()
            .defaulted(json!("AllUsers")),
    ];
    object
}

fn event() -> ObjectDef {
    ObjectDef::new("Event", "00U").linkable().with(vec![
        reference("WhoId", &["Contact", "Lead"], "Who"),
        reference("WhatId", &["Account", "Opportunity", "Case"], "What"),
        of("Subject", FieldType::Combobox, 255),
        text("Location", 255),
        boolean("IsAllDayEvent"),
        of("ActivityDate", FieldType::Date, 0),
        of("StartDateTime", FieldType::Datetime, 0),
        of("EndDateTime", FieldType::Datetime, 0),
        of("DurationInMinutes", FieldType::Int, 0),
        reference("AccountId", &["Account"], "Account").read_only(),
        long_text("Description"),
    ])
}

fn lead() -> ObjectDef {
    let statuses = &[
        "Open - Not Contacted",
        "Working - Contacted",
        CONVERTED,
        "Closed - Not Converted",
    ];
    ObjectDef::new("Lead", "00Q").linkable().with(vec![
        text("LastName", 80).required(),
        text("FirstName", 40),
        picklist("Salutation", SALUTATIONS),
        text("Name", 121).read_only(),
        text("Company", 255).required(),
        text("Title", 128),
        of("Email", FieldType::Email, 80).id_lookup(),
        of("Phone", FieldType::Phone, 40),
        picklist("LeadSource", LEAD_SOURCES),
        picklist("Status", statuses).defaulted(json!("Open - Not Contacted")),
        boolean("IsConverted").read_only(),
        of("ConvertedDate", FieldType::Date, 0).read_only(),
        reference("ConvertedAccountId", &["Account"], "ConvertedAccount").read_only(),
        reference("ConvertedContactId", &["Contact"], "ConvertedContact").read_only(),
        reference(
            "ConvertedOpportunityId",
            &["Opportunity"],
            "ConvertedOpportunity",
        )
        .read_only(),
        long_text("Description"),
    ])
}

fn case() -> ObjectDef {
    ObjectDef::new("Case", "500").linkable().with(vec![
        text("CaseNumber", 30).read_only().id_lookup(),
        reference("ContactId", &["Contact"], "Contact"),
        reference("AccountId", &["Account"], "Account"),
        text("Subject", 255),
        picklist("Status", &["New", "Working", "Escalated", "Closed"]).defaulted(json!("New")),
        picklist("Origin", &["Phone", "Email", "Web"]),
        picklist("Priority", &["High", "Medium", "Low"]).defaulted(json!("Medium")),
        boolean("IsClosed").read_only(),
        long_text("Description"),
    ])
}
