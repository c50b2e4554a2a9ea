use std::{collections::BTreeMap, error::Error, str::FromStr};

/// `--name value` pairs.
pub(crate) struct Flags(BTreeMap<String, String>);

impl Flags {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut flags = BTreeMap::new();
        while let Some(name) = args.next() {
            let name = name
                .strip_prefix("--")
                .ok_or("flags begin with --")?
                .to_owned();
            let value = args.next().ok_or("every flag has a value")?;
            flags.insert(name, value);
        }
        Ok(Self(flags))
    }

    pub(crate) fn text(&self, name: &str) -> Result<&str, Box<dyn Error>> {
        self.0
            .get(name)
            .map(String::as_str)
            .ok_or_else(|| format!("--{name} is missing").into())
    }

    pub(crate) fn parsed<T: FromStr<Err: Error + 'static>>(
        &self,
        name: &str,
    ) -> Result<T, Box<dyn Error>> {
        Ok(self.text(name)?.parse()?)
    }
}
