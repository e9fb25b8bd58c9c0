//! What a webhook can be told of.

const FILE: &[&str] = &[
    "PREVIEWED",
    "DOWNLOADED",
    "TRASHED",
    "DELETED",
    "RESTORED",
    "COPIED",
    "MOVED",
    "LOCKED",
    "UNLOCKED",
    "RENAMED",
];
const FOLDER: &[&str] = &[
    "CREATED",
    "RENAMED",
    "DOWNLOADED",
    "RESTORED",
    "DELETED",
    "COPIED",
    "MOVED",
    "TRASHED",
];
const COLLABORATION: &[&str] = &["CREATED", "ACCEPTED", "REJECTED", "REMOVED", "UPDATED"];
const CHANGES: &[&str] = &["CREATED", "UPDATED", "DELETED"];

/// The newer ones have one name in Box's guide and another in its OpenAPI document.
const SIGN_REQUEST: &[&str] = &[
    "COMPLETED",
    "DECLINED",
    "EXPIRED",
    "SIGNER_EMAIL_BOUNCED",
    "SIGNER_SIGNED",
    "SIGNATURE_REQUESTED",
    "ERROR_FINALIZING",
    "SIGN_SIGNER_SIGNED",
    "SIGN_DOCUMENT_CREATED",
    "SIGN_ERROR_FINALIZING",
];
const DOCGEN: &[&str] = &[
    "DOCGEN_DOCUMENT_GENERATION_STARTED",
    "DOCGEN_DOCUMENT_GENERATION_SUCCEEDED",
    "DOCGEN_DOCUMENT_GENERATION_FAILED",
];

/// Whether Box knows the trigger, and whether a webhook on this type of item may have it.
pub(super) fn fits(trigger: &str, target_type: &str) -> Result<(), &'static str> {
    let (on_file, on_folder) = match trigger.split_once('.') {
        None if DOCGEN.contains(&trigger) => (true, false),
        Some(("FILE", "UPLOADED")) => (false, true),
        Some(("FILE", name)) if FILE.contains(&name) => (true, true),
        Some(("FOLDER", name)) if FOLDER.contains(&name) => (false, true),
        Some(("COLLABORATION", name)) if COLLABORATION.contains(&name) => (false, true),
        Some(("SIGN_REQUEST", name)) if SIGN_REQUEST.contains(&name) => (true, true),
        Some(("METADATA_INSTANCE" | "SHARED_LINK" | "COMMENT", name))
            if CHANGES.contains(&name) =>
        {
            (true, true)
        }
        Some(("TASK_ASSIGNMENT", "CREATED" | "UPDATED") | ("WEBHOOK", "DELETED")) => (true, true),
        _ => return Err("not a trigger"),
    };
    match target_type {
        "file" if !on_file => Err("not allowed on a file"),
        "folder" if !on_folder => Err("not allowed on a folder"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_held_against_the_target() {
        for (trigger, target, fit) in [
            ("FILE.UPLOADED", "folder", Ok(())),
            ("FILE.UPLOADED", "file", Err("not allowed on a file")),
            ("FILE.LOCKED", "file", Ok(())),
            (
                "COLLABORATION.CREATED",
                "file",
                Err("not allowed on a file"),
            ),
            ("FILE.VERSION.RESTORED", "folder", Err("not a trigger")),
            ("NO_ACTIVE_SESSION", "folder", Err("not a trigger")),
            (
                "DOCGEN_DOCUMENT_GENERATION_FAILED",
                "folder",
                Err("not allowed on a folder"),
            ),
        ] {
            assert_eq!(fits(trigger, target), fit, "{trigger} on a {target}");
        }
    }
}
