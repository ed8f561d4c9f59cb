use proptest::prelude::*;

use super::{Found, Path, read};

/// What a path selects, each node as text and each attribute as its value.
fn selected(xml: &str, path: &str) -> Result<Vec<String>, String> {
    let document = read(xml).map_err(|error| error.to_string())?;
    let found = document.select(&Path::parse(path)?).map_err(|error| error.to_string())?;
    let text = |found| match found {
        Found::Node(id) => {
            let mut out = String::new();
            document.put(id, &mut out);
            out
        }
        Found::Attribute(id, index) => document.element(id).expect("an element").attributes[index].1.clone(),
    };
    Ok(found.into_iter().map(text).collect())
}

const SHOP: &str = r#"<shop><item id="1" kind="fruit"><name>apple</name><price>3</price></item><item id="2"><name>pear</name><price>5</price><!-- ripe --></item><note>sale<![CDATA[ <now>]]></note></shop>"#;

#[test]
fn paths_select_what_xpath_says() {
    for (path, expected) in [
        ("/shop/item[1]/name", vec!["<name>apple</name>"]),
        ("//name/text()", vec!["apple", "pear"]),
        ("//item/@id", vec!["1", "2"]),
        ("//@*", vec!["1", "fruit", "2"]),
        ("//item[@kind='fruit']/price", vec!["<price>3</price>"]),
        ("//item[price > 3]/name/text()", vec!["pear"]),
        ("//item[last()]/@id", vec!["2"]),
        ("//item[position() < 2]/@id", vec!["1"]),
        ("//item[not(@kind)]/@id", vec!["2"]),
        ("//*[local-name() = 'price']", vec!["<price>3</price>", "<price>5</price>"]),
        ("//name | //price[. = 5]", vec!["<name>apple</name>", "<name>pear</name>", "<price>5</price>"]),
        ("//comment()", vec!["<!-- ripe -->"]),
        ("//price[. = 5]/../@id", vec!["2"]),
        ("//price[. = 3]/ancestor::item/@kind", vec!["fruit"]),
        ("//item[contains(name, 'ppl') and starts-with(name, 'a')]/@id", vec!["1"]),
        ("//item[1]/following-sibling::item/@id", vec!["2"]),
        ("//item[count(*) = 2]/@id", vec!["1", "2"]),
        ("/shop/nothing", vec![]),
        ("//note/text()", vec!["sale", "<![CDATA[ <now>]]>"]),
    ] {
        assert_eq!(selected(SHOP, path), Ok(expected.into_iter().map(str::to_owned).collect()), "{path}");
    }
}

#[test]
fn documents_are_written_as_they_were_read() {
    for xml in [
        SHOP,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><a></a>",
        "<!DOCTYPE a [<!ENTITY b \"c>\">]><a x=\"&lt;&amp;&#34;\">&lt;t&gt;</a><b></b>",
        "<s:a xmlns:s=\"urn:x\"><s:b></s:b></s:a>",
    ] {
        assert_eq!(read(xml).expect(xml).text(), xml);
    }
    assert_eq!(read("<a\tb = 'c'/>\r\n").expect("well-formed").text(), "<a b=\"c\"></a>\n");
}

#[test]
fn what_is_not_well_formed_is_an_error_with_its_reason() {
    for (xml, reason) in [
        ("<a>", "unexpected EOF"),
        ("<a></b>", "element <a> closed by </b>"),
        ("</a>", "unexpected end element </a>"),
        ("<a b></a>", "attribute name without = in element"),
        ("<a b=c></a>", "unquoted or missing attribute value in element"),
        ("<a>&nope;</a>", "invalid character entity &nope;"),
        ("<a>\u{1}</a>", "illegal character code U+0001"),
        ("<a><!-- -- --></a>", "not allowed in comments"),
        ("<x:a></x:a>", "namespace x is missing"),
    ] {
        let error = read(xml).expect_err(xml).to_string();
        assert!(error.contains(reason), "{xml}: {error}");
    }
    let deep = "<a>".repeat(300);
    assert!(read(&deep).expect_err("too deep").to_string().contains("nesting depth"));
}

#[test]
fn paths_that_cannot_be_are_refused_by_name() {
    for (path, reason) in [
        ("//a[", "expected"),
        ("", "expected a value"),
        ("//a[nope()]", "the function nope() is not supported"),
        ("sideways::a", "unknown axis \"sideways\""),
        ("//a]", "unexpected \"]\""),
    ] {
        let error = Path::parse(path).expect_err(path);
        assert!(error.starts_with("invalid xpath") && error.contains(reason), "{path}: {error}");
    }
}

proptest! {
    /// Any text is a document or an error, and a document is written in a form that reads as itself.
    #[test]
    fn what_is_written_reads_as_the_same(text in "(<a b='c'>|</a>|<a/>|<!-- -|--|-->|<!\\[CDATA\\[|\\]\\]>|<\\?x |\\?>|<!D|[<>&;/=\"' a-c\r\n]|&lt;|&#65;){0,40}") {
        if let Ok(document) = read(&text) {
            let written = document.text();
            prop_assert_eq!(read(&written).map(|again| again.text()).map_err(|error| error.to_string()), Ok(written));
        }
    }

    /// Any text is a path or an error, and a path ends on any document.
    #[test]
    fn any_path_ends(text in "(/|//|\\.|\\.\\.|@|\\*|item|name\\(\\)|text\\(\\)|\\[|\\]|1|last\\(\\)|=|<|'x'| and |\\||count\\(|\\)|ancestor::|following::|preceding::){0,16}") {
        if let Ok(path) = Path::parse(&text) {
            let document = read(SHOP).expect("well-formed");
            let _ = document.select(&path);
        }
    }
}
