use apache_avro::types::Value as Avro;
use jiff::Timestamp;

/// What heads a change event.
pub(super) struct Header<'a> {
    pub(super) entity: &'a str,
    pub(super) records: &'a [String],
    pub(super) kind: &'static str,
    pub(super) origin: &'a str,
    pub(super) transaction: u64,
    pub(super) sequence: i32,
    pub(super) at: Timestamp,
    pub(super) user: &'a str,
    pub(super) changed: Vec<String>,
    pub(super) nulled: Vec<String>,
}

impl Header<'_> {
    pub(super) fn datum(self, salt: u64) -> Avro {
        let text = |text: &str| Avro::String(text.to_owned());
        let texts = |items: &[String]| Avro::Array(items.iter().map(|item| text(item)).collect());
        let key = format!("{salt:016x}-{:016x}", self.transaction);
        let number = i64::try_from(self.transaction).unwrap_or(i64::MAX);
        let members = [
            ("entityName", text(self.entity)),
            ("recordIds", texts(self.records)),
            ("changeType", text(self.kind)),
            ("changeOrigin", text(self.origin)),
            ("transactionKey", text(&key)),
            ("sequenceNumber", Avro::Int(self.sequence)),
            ("commitTimestamp", Avro::Long(self.at.as_millisecond())),
            ("commitNumber", Avro::Long(number)),
            ("commitUser", text(self.user)),
            ("nulledFields", texts(&self.nulled)),
            ("diffFields", texts(&[])),
            ("changedFields", texts(&self.changed)),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        Avro::Record(members.into())
    }
}
