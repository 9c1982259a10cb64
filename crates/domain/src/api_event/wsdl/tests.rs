//! Tests of reading WSDL, and that no text makes the reader stumble.

use proptest::prelude::*;

use super::*;

const WEATHER: &str = r#"<?xml version="1.0"?>
<wsdl:definitions name="W" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="s">
  <wsdl:types><operation name="not_this"/></wsdl:types>
  <wsdl:portType name="P">
    <wsdl:operation name="call_method"><wsdl:input message="m"/></wsdl:operation>
    <wsdl:operation name="Get.Weather"/>
  </wsdl:portType>
  <wsdl:binding name="B" type="P">
    <wsdl:operation name="call_method"/>
    <wsdl:operation name="only_bound"/>
  </wsdl:binding>
</wsdl:definitions>"#;

#[test]
fn s5_12_each_declared_method_is_a_post() {
    assert_eq!(
        operations(WEATHER).unwrap(),
        ["call_method.post", "Get%2EWeather.post"]
    );
}

#[test]
fn what_cannot_be_used_is_refused() {
    for (document, said) in [
        ("", "no WSDL"),
        ("<a/>", "no WSDL"),
        ("<definitions></definitions>", "no operation"),
        (
            "<definitions><portType><operation/></portType></definitions>",
            "no name",
        ),
        (
            "<definitions><portType><operation name=''/></portType></definitions>",
            "not the name",
        ),
        ("<definitions><portType>", "too early"),
        ("<definitions></portType>", "cannot be read"),
        (
            "<!DOCTYPE d [<!ENTITY a \"b\">]><definitions/>",
            "document type",
        ),
    ] {
        let error = operations(document).unwrap_err().to_string();
        assert!(error.contains(said), "{document:?}: {error}");
    }
    let deep = "<a>".repeat(100_000);
    assert_eq!(operations(&deep), Err(DocumentError::TooDeep));
}

#[test]
fn many_attributes_take_no_more_than_their_number() {
    let attributes: String = (0..200_000)
        .map(|number| format!(" a{number}=''"))
        .collect();
    let document = format!(
        "<definitions><portType><operation{attributes} name='m'/></portType></definitions>"
    );
    assert_eq!(operations(&document).unwrap(), ["m.post"]);
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("<definitions>".to_owned()),
        Just("</definitions>".to_owned()),
        Just("<w:portType>".to_owned()),
        Just("</w:portType>".to_owned()),
        Just("<operation name=\"a\"/>".to_owned()),
        Just("<operation name=".to_owned()),
        Just("<!DOCTYPE".to_owned()),
        Just("<![CDATA[".to_owned()),
        Just("<!--".to_owned()),
        Just("&amp;&x;".to_owned()),
        "[ -~\n]{0,12}",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_reader_stumble(pieces in prop::collection::vec(piece(), 0..24)) {
        drop(operations(&pieces.concat()));
    }
}
