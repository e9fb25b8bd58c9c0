use quick_xml::{
    NsReader,
    events::{BytesStart, Event},
    name::{NamespaceResolver, ResolveResult},
};
use secrecy::SecretString;

use super::{OutboundError, OutboundMessage, OutboundNotification};
use crate::RecordId;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const OUTBOUND: &str = "http://soap.sforce.com/2005/09/outbound";
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Compound fields such as addresses are the deepest there is.
const DEEPEST: usize = 12;
const NOTIFICATIONS: usize = 100;

type Result<T, E = OutboundError> = std::result::Result<T, E>;

pub(super) fn parse(body: &[u8]) -> Result<OutboundMessage> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = std::str::from_utf8(body).map_err(|_| OutboundError::Malformed)?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut parts = Parts::default();
    let mut is_over = false;
    loop {
        let (namespace, event) = reader
            .read_resolved_event()
            .map_err(|_| OutboundError::Malformed)?;
        match event {
            Event::Start(start) => {
                if is_over {
                    return Err(OutboundError::Malformed);
                }
                if open.len() >= DEEPEST {
                    return Err(OutboundError::Hostile);
                }
                let space = Space::of(&namespace)?;
                let element = Element::read(space, &start, reader.resolver())?;
                parts.begins(&open, &element)?;
                open.push(element);
            }
            Event::End(_) => {
                let element = open.pop().ok_or(OutboundError::Malformed)?;
                parts.ends(&open, element)?;
                is_over = open.is_empty();
            }
            Event::Text(text) => say(&mut open, &text.xml10_content())?,
            Event::CData(text) => say(&mut open, &text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let letter = match &*reference {
                    "amp" => '&',
                    "lt" => '<',
                    "gt" => '>',
                    "quot" => '"',
                    "apos" => '\'',
                    _ if reference.is_char_ref() => {
                        let letter = reference.resolve_char_ref();
                        letter.ok().flatten().ok_or(OutboundError::Malformed)?
                    }
                    // No document type, so no entity of its own: nothing to expand.
                    _ => return Err(OutboundError::Hostile),
                };
                say(&mut open, letter.encode_utf8(&mut [0; 4]))?;
            }
            Event::Decl(declaration) => {
                let encoding = declaration.encoding().transpose();
                let encoding = encoding.map_err(|_| OutboundError::Malformed)?;
                if encoding.is_some_and(|name| !name.eq_ignore_ascii_case("utf-8")) {
                    return Err(OutboundError::Malformed);
                }
            }
            Event::Comment(_) => {}
            // The reader is told to give them as a start and an end.
            Event::Empty(_) => return Err(OutboundError::Malformed),
            Event::DocType(_) | Event::PI(_) => return Err(OutboundError::Hostile),
            Event::Eof if is_over => return parts.whole(),
            Event::Eof => return Err(OutboundError::Malformed),
        }
    }
}

/// Text counts where an element holds nothing else; between the others it is white space.
fn say(open: &mut [Element], text: &str) -> Result<()> {
    match open.last_mut() {
        Some(element) => element.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(OutboundError::Malformed),
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Space {
    Soap,
    Outbound,
    Other,
}

struct Element {
    space: Space,
    name: String,
    /// `xsi:type`, without its prefix.
    kind: Option<String>,
    is_nil: bool,
    text: String,
}

impl Space {
    fn of(namespace: &ResolveResult<'_>) -> Result<Self> {
        Ok(match namespace {
            ResolveResult::Bound(space) if space.0 == SOAP => Self::Soap,
            ResolveResult::Bound(space) if space.0 == OUTBOUND => Self::Outbound,
            ResolveResult::Unknown(_) => return Err(OutboundError::Malformed),
            _ => Self::Other,
        })
    }
}

impl Element {
    fn read(space: Space, start: &BytesStart<'_>, resolver: &NamespaceResolver) -> Result<Self> {
        let mut element = Self {
            space,
            name: start.local_name().into_inner().to_owned(),
            kind: None,
            is_nil: false,
            text: String::new(),
        };
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| OutboundError::Malformed)?;
            let value = &*attribute.value;
            // Another namespace's `type` or `nil` is another thing.
            let name = resolver.resolve_attribute(attribute.key);
            if !matches!(name.0, ResolveResult::Bound(space) if space.0 == XSI) {
                continue;
            }
            match name.1.into_inner() {
                "type" => {
                    let name = value.rsplit_once(':').map_or(value, |(_, name)| name);
                    element.kind = Some(name.to_owned());
                }
                "nil" => element.is_nil = matches!(value, "true" | "1"),
                _ => {}
            }
        }
        Ok(element)
    }

    fn is(&self, space: Space, name: &str) -> bool {
        self.space == space && self.name == name
    }

    fn value(self) -> Option<String> {
        (!self.is_nil && !self.text.is_empty()).then_some(self.text)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Parts {
    has_notifications: bool,
    organization_id: Option<RecordId>,
    action_id: Option<RecordId>,
    session_id: Option<SecretString>,
    partner_url: Option<String>,
    notifications: Vec<OutboundNotification>,
    /// The notification that is being read.
    id: Option<RecordId>,
    object: Option<String>,
    fields: Vec<(String, Option<String>)>,
}

impl Parts {
    fn begins(&mut self, open: &[Element], element: &Element) -> Result<()> {
        let fits = match open.len() {
            0 => element.is(Space::Soap, "Envelope"),
            1 => element.space == Space::Soap,
            2 if open[1].name == "Body" => element.is(Space::Outbound, "notifications"),
            _ => true,
        };
        if !fits {
            return Err(OutboundError::Invalid("the envelope"));
        }
        if in_message(open) && open.len() == 2 {
            if self.has_notifications {
                return Err(OutboundError::Invalid("notifications"));
            }
            self.has_notifications = true;
        }
        if in_message(open) && open.len() == 4 && element.is(Space::Outbound, "sObject") {
            let object = element.kind.clone().filter(|kind| !kind.is_empty());
            let object = object.ok_or(OutboundError::Invalid("the object's type"))?;
            once(&mut self.object, object, "sObject")?;
        }
        Ok(())
    }

    fn ends(&mut self, open: &[Element], element: Element) -> Result<()> {
        if !in_message(open) {
            return Ok(());
        }
        let in_notification =
            |depth| open.len() == depth && open[3].is(Space::Outbound, "Notification");
        match open.len() {
            3 if element.space == Space::Outbound => self.part(element),
            4 if in_notification(4) && element.is(Space::Outbound, "Id") => {
                let id = record_id(element, "Notification Id")?;
                once(&mut self.id, id, "Notification Id")
            }
            5 if in_notification(5) && open[4].is(Space::Outbound, "sObject") => {
                let name = element.name.clone();
                self.fields.push((name, element.value()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A member of `notifications`.
    fn part(&mut self, element: Element) -> Result<()> {
        match &*element.name {
            "OrganizationId" => {
                let id = record_id(element, "OrganizationId")?;
                once(&mut self.organization_id, id, "OrganizationId")
            }
            "ActionId" => {
                let id = record_id(element, "ActionId")?;
                once(&mut self.action_id, id, "ActionId")
            }
            "SessionId" => match element.value() {
                Some(session) => once(&mut self.session_id, session.into(), "SessionId"),
                None => Ok(()),
            },
            "PartnerUrl" => match element.value() {
                Some(url) => once(&mut self.partner_url, url, "PartnerUrl"),
                None => Ok(()),
            },
            "Notification" => self.notification(),
            _ => Ok(()),
        }
    }

    fn notification(&mut self) -> Result<()> {
        if self.notifications.len() == NOTIFICATIONS {
            return Err(OutboundError::Invalid("more than 100 notifications"));
        }
        let id = self.id.take();
        let object = self.object.take();
        self.notifications.push(OutboundNotification {
            id: id.ok_or(OutboundError::Invalid("Notification Id"))?,
            object: object.ok_or(OutboundError::Invalid("sObject"))?,
            fields: std::mem::take(&mut self.fields),
        });
        Ok(())
    }

    fn whole(self) -> Result<OutboundMessage> {
        if self.notifications.is_empty() {
            return Err(OutboundError::Invalid("there are no notifications"));
        }
        let missing = OutboundError::Invalid;
        Ok(OutboundMessage {
            organization_id: self.organization_id.ok_or(missing("OrganizationId"))?,
            action_id: self.action_id.ok_or(missing("ActionId"))?,
            session_id: self.session_id,
            partner_url: self.partner_url,
            notifications: self.notifications,
        })
    }
}

/// Whether these are the envelope, its body, and the message or what is in it.
fn in_message(open: &[Element]) -> bool {
    open.get(1).is_some_and(|body| body.is(Space::Soap, "Body"))
}

fn once<T>(slot: &mut Option<T>, value: T, name: &'static str) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(OutboundError::Invalid(name)),
    }
}

fn record_id(element: Element, name: &'static str) -> Result<RecordId> {
    RecordId::new(element.text.trim()).map_err(|_| OutboundError::Invalid(name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;
    use crate::OutboundReader;

    const ORG: &str = "00Dxx0000001gPLEAY";

    fn notification(id: &str, fields: &str) -> String {
        format!(
            r#"<Notification><Id>{id}</Id><sObject xsi:type="sf:Opportunity"
            xmlns:sf="urn:sobject.enterprise.soap.sforce.com">{fields}</sObject></Notification>"#
        )
    }

    fn message(session: &str, notifications: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>{ORG}</OrganizationId>
   <ActionId>04kxx0000000001AAA</ActionId>
   {session}
   <EnterpriseUrl>https://acme.my.salesforce.com/services/Soap/c/58.0/00Dxx0000001gPL</EnterpriseUrl>
   <PartnerUrl>https://acme.my.salesforce.com/services/Soap/u/58.0/00Dxx0000001gPL</PartnerUrl>
   {notifications}
  </notifications>
 </soapenv:Body>
</soapenv:Envelope>"#
        )
    }

    fn read(text: &str) -> Result<OutboundMessage> {
        OutboundReader::new(&RecordId::new(ORG).unwrap()).read(text.as_bytes())
    }

    const NIL: &str = r#"<SessionId xsi:nil="true"/>"#;
    const FIELDS: &str = "<sf:Id>006xx000001a2bcAAA</sf:Id><sf:Name>A &amp; B &#228;</sf:Name>\
        <sf:NextStep xsi:nil=\"true\"/><sf:Note><![CDATA[<b>]]></sf:Note>";

    #[test]
    fn nothing_of_another_namespace_empties_a_field() {
        let fields = r#"<sf:Note xmlns:x="urn:other" x:nil="true" nil="true">kept</sf:Note>"#;
        let sent = notification("04lxx0000000001AAA", fields);
        let message = read(&message(NIL, &sent)).unwrap();
        assert_eq!(message.notifications[0].field("Note"), Some("kept"));
    }

    #[test]
    fn all_notifications_of_a_message_are_read() {
        let both = [
            notification("04lxx0000000001AAA", FIELDS),
            notification("04lxx0000000002AAA", "<sf:Id>006xx000001a2bdAAA</sf:Id>"),
        ];
        let message = read(&message(NIL, &both.concat())).unwrap();
        assert_eq!(message.notifications.len(), 2);
        let first = &message.notifications[0];
        assert_eq!(first.object, "Opportunity");
        assert_eq!(first.record_id().unwrap().as_str(), "006xx000001a2bcAAA");
        assert_eq!(first.field("Name"), Some("A & B ä"));
        assert_eq!(first.field("NextStep"), None);
        assert_eq!(first.field("Note"), Some("<b>"));
        assert!(message.session_id().is_none() && message.access_token().is_none());
    }

    #[test]
    fn names_are_matched_by_their_space_and_not_by_their_prefix() {
        let plain = message(NIL, &notification("04lxx0000000001AAA", FIELDS));
        let renamed = plain
            .replace("soapenv", "S")
            .replace("sf:", "x:")
            .replace(":sf", ":x");
        assert!(read(&renamed).is_ok());
        let wrong = plain.replace("soap.sforce.com/2005/09/outbound", "example.com");
        assert_eq!(
            read(&wrong).unwrap_err(),
            OutboundError::Invalid("the envelope")
        );
    }

    #[test]
    fn a_session_goes_to_the_org_only_and_is_shown_nowhere() {
        let session = "<SessionId>00D!planted</SessionId>";
        let one = notification("04lxx0000000001AAA", FIELDS);
        let text = message(session, &one);
        let message = read(&text).unwrap();
        assert_eq!(message.session_id().unwrap().expose_secret(), "00D!planted");
        let token = message.access_token().unwrap().unwrap();
        assert_eq!(token.instance_url(), "https://acme.my.salesforce.com/");
        let shown = format!("{message:?} {:?} {token:?}", message.notifications);
        assert!(!shown.contains("planted"), "{shown}");
        for host in [
            "http://acme.my.salesforce.com",
            "https://salesforce.com.evil.example",
            "https://evilsalesforce.com",
        ] {
            let elsewhere = text.replace("https://acme.my.salesforce.com", host);
            assert!(read(&elsewhere).unwrap().access_token().is_none(), "{host}");
        }
    }

    #[test]
    fn what_is_hostile_or_no_message_is_refused() {
        use OutboundError::*;
        let one = notification("04lxx0000000001AAA", FIELDS);
        let good = message(NIL, &one);
        let declaration = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
        let dtd = format!("{declaration}<!DOCTYPE x [<!ENTITY a \"aaa\">]>");
        let external = format!("{declaration}<!DOCTYPE x SYSTEM \"file:///etc/passwd\">");
        let deep = format!("{}{}", "<sf:x>".repeat(1000), "</sf:x>".repeat(1000));
        let many: String = (0..101)
            .map(|_| notification("04lxx0000000001AAA", FIELDS))
            .collect();
        let with_fields = |fields: &str| message(NIL, &notification("04lxx0000000001AAA", fields));
        for (text, error) in [
            (good.replace(declaration, &dtd), Hostile),
            (good.replace(declaration, &external), Hostile),
            (with_fields("<sf:Id>&xxe;</sf:Id>"), Hostile),
            (with_fields("<?php x?>"), Hostile),
            (with_fields(&deep), Hostile),
            (message(NIL, &many), Invalid("more than 100 notifications")),
            (message(NIL, ""), Invalid("there are no notifications")),
            (
                message("<OrganizationId>00Dxx0000001gPLEAY</OrganizationId>", &one),
                Invalid("OrganizationId"),
            ),
            (
                good.replace("<Id>04lxx0000000001AAA</Id>", ""),
                Invalid("Notification Id"),
            ),
            (good.replace(ORG, "no id"), Invalid("OrganizationId")),
            (good.replace(ORG, "00Dxx0000001gPMEAY"), Organization),
            (good.replace("UTF-8", "ISO-8859-1"), Malformed),
            (good[..good.len() - 5].to_owned(), Malformed),
            (format!("{good}<x/>"), Malformed),
            (format!("{good}trailing"), Malformed),
            (String::new(), Malformed),
            ("<a/>".to_owned(), Invalid("the envelope")),
        ] {
            assert_eq!(read(&text).unwrap_err(), error, "{text}");
        }
        let org = RecordId::new("00Dxx0000001gPM").unwrap();
        assert_eq!(
            OutboundReader::new(&org).read(good.as_bytes()).unwrap_err(),
            Organization
        );
        let org = RecordId::new(ORG).unwrap();
        let reader = OutboundReader::new(&org);
        let other = RecordId::new("04kxx0000000002").unwrap();
        assert_eq!(
            reader
                .clone()
                .action(&other)
                .read(good.as_bytes())
                .unwrap_err(),
            Action
        );
        assert_eq!(
            reader.max_bytes(10).read(good.as_bytes()).unwrap_err(),
            TooLarge
        );
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(body: Vec<u8>) {
            let _ = parse(&body);
        }

        #[test]
        fn no_change_of_a_message_is_too_strange(at in 0_usize..900, bytes: [u8; 3]) {
            let mut body = message(NIL, &notification("04lxx0000000001AAA", FIELDS)).into_bytes();
            let at = at.min(body.len() - 3);
            body[at..at + 3].copy_from_slice(&bytes);
            let _ = parse(&body);
        }

        #[test]
        fn a_text_comes_back_as_it_was(text in "[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\u{9f}\\u{2028}\\u{fffe}\\u{ffff}]{1,40}") {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let body = message(NIL, &notification("04lxx0000000001AAA", &format!("<sf:Name>{escaped}</sf:Name>")));
            let message = parse(body.as_bytes()).unwrap();
            prop_assert_eq!(message.notifications[0].field("Name"), Some(text.as_str()));
        }
    }
}
