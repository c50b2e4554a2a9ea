use super::*;

fn fields(body: &str) -> Fields {
    Fields::read(body.as_bytes()).unwrap_or_else(|problem| panic!("{problem:?}"))
}

fn any(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

#[track_caller]
fn errors(fields: Fields, expected: &[(&str, &str)]) {
    let Err(Problem::Invalid(errors)) = fields.finish() else {
        panic!("no wrong field");
    };
    let errors: Vec<_> = errors
        .iter()
        .map(|e| (e.field.as_str(), e.detail.as_str()))
        .collect();
    assert_eq!(errors, expected);
}

#[test]
fn null_is_absent() {
    let mut fields = fields(r#"{"a":null,"b":null,"c":null}"#);
    assert_eq!(fields.text("a", any), None);
    assert_eq!(fields.flag("b"), None);
    assert_eq!(fields.list("c", any), None);
    assert!(fields.finish().is_ok());
}

#[test]
fn required_is_neither_absent_nor_null() {
    let mut fields = fields(r#"{"a":null}"#);
    assert_eq!(fields.required_text("a", any), None);
    assert_eq!(fields.required_text("b", any), None);
    errors(fields, &[("a", "is required"), ("b", "is required")]);
}

#[test]
fn everything_wrong_is_named() {
    let mut fields = fields(r#"{"a":1,"b":"no","c":["x",2,"y"],"d":{},"zz":0,"e":"bad"}"#);
    fields.text("a", any);
    fields.flag("b");
    fields.list(
        "c",
        |text| if text == "x" { Ok(()) } else { Err("is not x") },
    );
    fields.list("d", any);
    fields.text("e", |_| Err::<(), _>("is bad"));
    errors(
        fields,
        &[
            ("a", "must be a string, not a number"),
            ("b", "must be true or false, not a string"),
            ("c[1]", "must be a string, not a number"),
            ("c[2]", "is not x"),
            ("d", "must be a list of strings, not an object"),
            ("e", "is bad"),
            ("zz", "is no field of this request; known are a, b, c, d, e"),
        ],
    );
}

#[test]
fn lists_are_bounded() {
    let body = format!(r#"{{"a":[{}""]}}"#, "\"\",".repeat(256));
    let mut fields = fields(&body);
    assert!(fields.list("a", any).is_none());
    errors(fields, &[("a", "has 257 entries; at most 256 are taken")]);
}

#[test]
fn only_json_objects_are_read() {
    for body in ["", "{", "{\"a\":}", "nonsense", "\u{feff}{}"] {
        assert!(matches!(
            Fields::read(body.as_bytes()),
            Err(Problem::Malformed(_))
        ));
    }
    assert!(matches!(Fields::read(b"\xff"), Err(Problem::Malformed(_))));
    for body in ["[]", "1", "null", "\"{}\""] {
        assert!(matches!(
            Fields::read(body.as_bytes()),
            Err(Problem::Invalid(_))
        ));
    }
}
