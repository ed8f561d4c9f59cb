use super::{condition, statement};
use crate::ast::{Comparison, Condition, Expr, MathOp};

#[test]
fn operators_bind_as_the_grammar_says() {
    let Ok(Condition::Or(terms)) = condition("a == 1 or b == 2 and not c == 3") else {
        panic!("an or of terms");
    };
    assert!(matches!(&terms[1], Condition::And(all) if matches!(all[1], Condition::Not(_))));
    let Ok(Condition::Compare(left, Comparison::Equal, _)) = condition("1 + 2 * 3 == 7") else {
        panic!("a comparison");
    };
    assert!(
        matches!(*left, Expr::Math(_, MathOp::Add, right) if matches!(*right, Expr::Math(_, MathOp::Multiply, _)))
    );
    assert!(matches!(condition("(a == 1 or (b == 2))"), Ok(Condition::Or(_))));
    assert!(matches!(condition("(1 + 2) * 3 == 9"), Ok(Condition::Compare(..))));
    assert!(matches!(condition("((true))"), Ok(Condition::Constant(true))));
}

#[test]
fn faulty_texts_are_refused_with_their_place() {
    let check = |text: &str, want: &str| {
        let error = statement(text).expect_err(text).to_string();
        assert!(error.contains(want), "{text}: {error}");
    };
    check("set(a, ", "1:8: unexpected token \"<EOF>\"");
    check("set(a, \"x)", "1:8: invalid input text: a string without its end");
    check("set(a,\n  \"\\d\")", "2:3: invalid quoted string: unknown escape \\d");
    check("set(a, 1) wher b == 1", "1:11: unexpected token \"wher\" (expected the end)");
    check("Set(a, 1)", "editor names must start with a lowercase letter but got 'Set'");
    check("set(a, concat(b))", "converter names must start with an uppercase letter but got 'concat'");
    check("set(a, 1)[\"x\"]", "only paths and converters may be indexed");
    check("set(a, 1) where b = 1", "unexpected token \"=\"");
    check("set(a, 99999999999999999999)", "value out of range");
    check("set(a, 0xabc)", "odd length hex string");
    check(&format!("set(a, 1) where {}true", "(".repeat(300)), "nests deeper than");
}

#[test]
fn names_of_mixed_case_are_calls_and_upper_case_words_are_symbols() {
    let parsed =
        statement("set(kind, SPAN_KIND_SERVER) where IsMatch(name, \"x\") and SHA256(name) == \"a\"");
    let parsed = parsed.expect("a good statement");
    assert_eq!(parsed.editor.arguments[1].value, Expr::Enum("SPAN_KIND_SERVER".to_owned()));
    let parsed = statement("replace_pattern(name, \"a\", \"b\", function=SHA256)").expect("a good statement");
    assert_eq!(parsed.editor.arguments[3].value, Expr::Enum("SHA256".to_owned()));
    let parsed = statement("replace_pattern(name, \"a\", \"b\", ToLowerCase)").expect("a good statement");
    assert_eq!(parsed.editor.arguments[3].value, Expr::Function("ToLowerCase".to_owned()));
}
