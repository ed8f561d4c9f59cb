use super::{Context, Fields, Template};

struct Labels(Vec<(&'static str, &'static str)>);

impl Fields for Labels {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn sorted(&self) -> Vec<(&str, &str)> {
        let mut pairs = self.0.clone();
        pairs.sort_unstable();
        pairs
    }
}

fn render(template: &str) -> Result<String, String> {
    let labels = Labels(vec![
        ("app", "web"),
        ("n", "42"),
        ("f", "1.25"),
        ("msg", "Hello, World"),
        ("empty", ""),
        ("json", r#"{"a":{"b":[1,"x",true]},"c":null}"#),
        ("multi", "zwölf"),
        ("iso", "2024-03-05T06:07:08.5Z"),
    ]);
    // 2021-07-08 09:10:11.123456789 UTC, a Thursday.
    let context = Context {
        fields: &labels,
        line: "the line",
        timestamp_ns: 1_625_735_411_123_456_789,
        now_ns: 1_700_000_000_000_000_000,
    };
    let mut out = String::new();
    Template::parse("line", template)?.render(&context, &mut out).map(|()| out)
}

#[test]
fn templates_print_what_go_prints() {
    for (template, expected) in [
        ("plain", "plain"),
        ("{{.app}} {{ .missing }}|{{.empty}}", "web |"),
        ("a {{- .app -}} b", "awebb"),
        ("{{/* nothing */}}x{{- /* nor this */ -}} y", "xy"),
        (r#"{{if eq .app "web"}}yes{{else}}no{{end}}"#, "yes"),
        (r#"{{if .missing}}a{{else if .app}}b{{else}}c{{end}}"#, "b"),
        (r#"{{with .app}}<{{.}}>{{end}}{{with .missing}}x{{else}}none{{end}}"#, "<web>none"),
        (r#"{{$x := .app}}{{$x}}{{$x = "y"}}{{$x}}{{$.n}}"#, "weby42"),
        (r#"{{range $i, $e := (fromJson .json).a.b}}{{$i}}={{$e}};{{end}}"#, "0=1;1=x;2=true;"),
        (r#"{{range (fromJson .json).a.b}}{{if eq (print .) "x"}}{{break}}{{end}}{{.}}{{end}}"#, "1"),
        (r#"{{range 3}}{{.}}{{end}}"#, "012"),
        ("{{range $i, $e := (fromJson `[]`)}}x{{else}}{{$i}}{{$e = 7}}{{$e}}{{end}}", "[]7"),
        (
            "{{range $k, $v := (fromJson .json)}}{{$k}}{{else}}none{{end}}{{range 0}}x{{else}}none{{end}}",
            "acnone",
        ),
        ("{{printf `%.1000f` 0.5 | len}} {{printf `%s` `a` 1 true}}", "1002 a%!(EXTRA int=1, bool=true)"),
        ("{{ (fromJson .json).c }}", "<no value>"),
        ("{{ fromJson .json }}", "map[a:map[b:[1 x true]] c:<nil>]"),
        (r#"{{index (fromJson .json) "a" "b" 1}}{{ index . "app" }}"#, "xweb"),
        (r#"{{.msg | lower | replace "hello" "bye" | printf "%q"}}"#, r#""bye, world""#),
        (r#"{{and .app .empty}}|{{or .empty .app}}|{{not .app}}"#, "|web|false"),
        (r#"{{lt 1 2}}{{ge 1.5 1.5}}{{ne "a" "b"}}{{eq .app "x" "web"}}"#, "truetruetruetrue"),
        (r#"{{len .msg}} {{slice .msg 0 5}} {{print 1 2 "x"}} {{println "y"}}"#, "12 Hello 1 2x y\n"),
        (
            r#"{{printf "%5d|%-5s|%05.1f|%x|%v|%+d|%t|%%|%q" 42 "ab" 3.14159 "hi" 2.5 7 true "q"}}"#,
            r#"   42|ab   |003.1|6869|2.5|+7|true|%|"q""#,
        ),
        (r#"{{printf "%d %s" "x"}}"#, "%!d(string=x) %!s(MISSING)"),
        (r#"{{printf "%.3f %e %g" 2.0 1234.5 1e-7}}"#, "2.000 1.234500e+03 1e-07"),
        ("{{ToUpper .app}}{{ToLower .msg}}{{title `ab cd`}}", "WEBhello, worldAb Cd"),
        (
            r#"{{Replace .msg "l" "L" 2}}|{{TrimPrefix .msg "Hello"}}|{{Trim .msg "Hd"}}"#,
            "HeLLo, World|, World|ello, Worl",
        ),
        (r#"{{trimAll "Hd" .msg}}|{{trimSuffix "World" .msg}}|{{trim "  x "}}"#, "ello, Worl|Hello, |x"),
        (r#"{{contains "World" .msg}} {{hasPrefix "He" .msg}} {{hasSuffix "x" .msg}}"#, "true true false"),
        (
            "{{trunc 5 .msg}}|{{trunc -5 .msg}}|{{substr 1 3 .msg}}|{{substr 7 -1 .msg}}",
            "Hello|World|el|World",
        ),
        (
            "{{alignLeft 5 .app}}|{{alignRight 5 .app}}|{{alignLeft 2 .app}}|{{alignRight 2 .multi}}",
            "web  |  web|we|lf",
        ),
        ("{{indent 2 `a\nb`}}{{nindent 1 `c`}}{{repeat 3 `-`}}", "  a\n  b\n c---"),
        (
            r#"{{regexReplaceAll "(o)" .msg "<$1>"}} {{regexReplaceAllLiteral "(o)" .msg "$1"}} {{count "l" .msg}}"#,
            "Hell<o>, W<o>rld Hell$1, W$1rld 3",
        ),
        ("{{urlencode `a b&c/ü`}} {{urldecode `a+b%26`}}", "a+b%26c%2F%C3%BC a b&"),
        (
            "{{b64enc `hello`}} {{b64dec `aGVsbG8=`}} {{b64enc `a`}} {{b64dec `YQ==`}}",
            "aGVsbG8= hello YQ== a",
        ),
        (
            "{{add .n 1 2}} {{sub 10 .n}} {{mul .n 2}} {{div .n 5}} {{mod .n 5}} {{max 1 .n 3}} {{min 5 .n}}",
            "45 -32 84 8 2 42 5",
        ),
        (
            "{{addf .f 1}} {{addf 0.1 0.2}} {{subf 1 0.9}} {{mulf .f 2}} {{divf 1 4}} {{maxf 1.5 2}} {{minf 1.5 2}}",
            "2.25 0.3 0.1 2.5 0.25 2 1.5",
        ),
        (
            "{{mulf 1.1 1.1}} {{divf 2 3}} {{divf 1 7 -3}} {{mulf 0.1 3}} {{subf 5 2.25 0.1}}",
            "1.21 0.6666666666666667 -0.0476190476190476 0.3 2.65",
        ),
        (
            "{{ceil .f}} {{floor .f}} {{round 3.14159 2}} {{int .n}} {{float64 .f}} {{int 3.9}}",
            "2 1 3.14 42 1.25 3",
        ),
        ("{{bytes `2KB`}} {{duration `1m30s`}} {{duration_seconds `250ms`}}", "2000 90 0.25"),
        (r#"{{default "d" .missing}}{{default "d" .app}}"#, "dweb"),
        ("{{__line__ | upper}}", "THE LINE"),
        ("{{__timestamp__}}", "2021-07-08 09:10:11.123456789 +0000 UTC"),
        (r#"{{__timestamp__ | date "2006-01-02T15:04:05.000Z07:00"}}"#, "2021-07-08T09:10:11.123Z"),
        (r#"{{date "Mon Jan _2 3:04PM 06 002" __timestamp__}}"#, "Thu Jul  8 9:10AM 21 189"),
        (
            "{{__timestamp__.Unix}} {{unixEpochMillis __timestamp__}} {{unixEpoch now}}",
            "1625735411 1625735411123 1700000000",
        ),
        (r#"{{__timestamp__.Format "15h"}}"#, "09h"),
        (r#"{{toDate "2006-01-02T15:04:05Z07:00" .iso | unixEpochNanos}}"#, "1709618828500000000"),
        (r#"{{toDateInZone "2006-01-02" "UTC" "2024-02-29" | date "Jan 2"}}"#, "Feb 29"),
        (
            r#"{{toDateInZone "2006-01-02 15:04" "America/New_York" "2024-07-01 12:00" | unixEpoch}}"#,
            "1719849600",
        ),
        (
            r#"{{toDateInZone "2006-01-02 15:04Z07:00" "Asia/Tokyo" "2024-07-01 12:00Z" | unixEpoch}}"#,
            "1719835200",
        ),
        (r#"{{toDateInZone "2006-01-02" "Mars/X" "2024-02-29" | date "Jan 2 15"}}"#, "Feb 29 00"),
        (
            r#"{{unixToTime "1709618828" | date "2006"}} {{unixToTime "19787" | date "2006-01-02"}}"#,
            "2024 2024-03-05",
        ),
        (
            "{{ 1e21 }} {{ 100000.0 }} {{ 'a' }} {{ 0x10 }} {{ bytes `2MiB` }}",
            "1e+21 100000 97 16 2.097152e+06",
        ),
    ] {
        assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
    }
}

#[test]
fn wrong_templates_are_named_with_their_line() {
    for (template, expected) in [
        ("{{.a", "template: line:1: unclosed action"),
        ("x\n{{if .a}}", "template: line:2: unexpected EOF"),
        ("{{end}}", "template: line:1: unexpected {{end}}"),
        ("{{nofunc .a}}", "template: line:1: function \"nofunc\" not defined"),
        ("{{$x}}", "template: line:1: undefined variable \"$x\""),
        ("{{}}", "template: line:1: missing value for command"),
        ("{{break}}", "template: line:1: {{break}} outside {{range}}"),
        ("{{template \"x\"}}", "template: line:1: {{template}} is not supported"),
        ("{{ \"a }}", "template: line:1: unterminated quoted string"),
        ("{{ (.a }}", "template: line:1: unclosed left paren"),
        // As text/template of Go says it.
        ("{{$a, $b := 1}}{{$a = 2}}", "template: line:1: too many declarations in command"),
        ("{{with $a, $b := 1}}{{end}}", "template: line:1: too many declarations in with"),
        ("{{range $a, $b, $c := 1}}{{end}}", "template: line:1: too many declarations in range"),
    ] {
        assert_eq!(render(template), Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn errors_of_a_run_say_where() {
    for (template, expected) in [
        (
            "{{ .app.x }}",
            "template: line:1:3: executing \"line\" at <.app.x>: can't evaluate field x in type string",
        ),
        (
            "{{div 1 0}}",
            "template: line:1:2: executing \"line\" at <div 1 0>: error calling div: runtime error: integer divide by zero",
        ),
        (
            "{{bytes .app}}",
            "template: line:1:2: executing \"line\" at <bytes .app>: error calling bytes: strconv.ParseFloat: parsing \"\": invalid syntax",
        ),
        (
            "{{index (fromJson .json) \"a\" \"b\" 9}}",
            "template: line:1:2: executing \"line\" at <index (fromJson .json) \"a\" \"b\" 9>: error calling index: index out of range: 9",
        ),
        // As a Loki 3.7.8 says it.
        (
            "{{ lower }}",
            "template: line:1:3: executing \"line\" at <lower>: wrong number of args for lower: want 1 got 0",
        ),
        (
            "{{ `x` | replace `y` }}",
            "template: line:1:9: executing \"line\" at <replace>: wrong number of args for replace: want 3 got 2",
        ),
        (
            "{{ .n | divf 1000 | round }}",
            "template: line:1:20: executing \"line\" at <round>: wrong number of args for round: want at least 2 got 0",
        ),
        (
            "{{ __line__ 3 }}",
            "template: line:1:3: executing \"line\" at <__line__>: wrong number of args for __line__: want 0 got 1",
        ),
        (
            "{{if .empty}}{{$x := 1}}{{else}}{{$x = 2}}{{end}}",
            "template: line:1:39: executing \"line\" at <2>: undefined variable: $x",
        ),
        (
            "{{printf `%.65536f` 1.0}}",
            "template: line:1:2: executing \"line\" at <printf `%.65536f` 1.0>: error calling printf: precision 65536 is over 1000",
        ),
        (
            "{{divf 1.5 0.0}}",
            "template: line:1:2: executing \"line\" at <divf 1.5 0.0>: error calling divf: decimal division by 0",
        ),
    ] {
        assert_eq!(render(template), Err(expected.to_owned()), "{template}");
    }
}

#[test]
fn no_template_hangs_or_bloats() {
    for template in [
        "{{range 1000000000}}x{{end}}",
        "{{range 90000}}{{range 90000}}x{{end}}{{end}}",
        "{{repeat 1000000000 `x`}}",
        "{{regexReplaceAllLiteral `.` __line__ (repeat 1000000 `x`)}}",
        "{{regexReplaceAll `.*` (repeat 100000 `y`) (repeat 100000 `$0`)}}",
        "{{printf `%999999999d` 1}}",
        "{{indent 1000000000 `x`}}",
        "{{alignLeft 1000000000 `x`}}",
        "{{range 1000}}{{repeat 10000 `x`}}{{end}}",
        "{{range 1000}}{{range 99999}}{{end}}{{end}}",
        "{{range 99999}}{{contains `q` (repeat 100000 `x`)}}{{end}}",
        "{{$x := repeat 1000000 `x`}}{{range 9999}}{{$y := $x}}{{end}}",
        "{{$x := repeat 1000000 `x`}}{{range 9999}}{{len $x}}{{end}}",
        "{{$x := fromJson (print `[` (repeat 400000 `1,`) `1]`)}}{{range 9999}}{{$y := slice $x 0}}{{end}}",
        "{{range 9999}}{{count (print `a{999}` .) __line__}}{{end}}",
        "{{printf `%.65535g` 0.001}}",
        "{{printf `%.*e` 65535 0.001}}",
    ] {
        assert!(render(template).is_err(), "{template}");
    }
    // A variable that grows in each turn, whatever makes it grow.
    for grow in [
        "print $x $x",
        "println $x $x",
        "printf `%s%s` $x $x",
        "printf `` $x $x",
        "html $x $x",
        "js $x $x",
        "urlquery $x `&`",
        "b64enc $x",
        "urlencode (print $x `&` $x)",
        "replace `x` `xx` $x",
        "Replace $x `x` `xx` -1",
        "regexReplaceAll `x` $x `xx`",
        "regexReplaceAllLiteral `x` $x `xx`",
        "repeat 2 $x",
        "indent 9999 $x",
        "nindent 9999 $x",
        "printf `%q` $x",
        "printf `%x` $x",
        "print (fromJson (print `[\"` $x `\",\"` $x `\"]`))",
    ] {
        let template = format!("{{{{$x := `x<\"&`}}}}{{{{range 9999}}}}{{{{$x = {grow}}}}}{{{{end}}}}");
        assert!(render(&template).is_err(), "{template}");
    }
    // One call and one action with many of a large text.
    for call in ["print", "println", "html", "printf ``", "and", "urlquery", "max", "eq `a`"] {
        let template = format!("{{{{$x := repeat 1000000 `x`}}}}{{{{{call}{}}}}}", " $x".repeat(1000));
        assert!(render(&template).is_err(), "{call}");
    }
    let template = format!("{{{{$x := repeat 1000000 `x`}}}}{}", "{{$y := $x}}".repeat(1000));
    assert!(render(&template).is_err());
    assert!(render(&"{{if .app}}".repeat(10_000)).is_err());
    assert!(render(&format!("{{{{{}", "(".repeat(50_000))).is_err());
}

#[test]
fn a_pattern_that_is_written_out_is_compiled_once() {
    for call in [
        "count `l(i)ne` __line__",
        "regexReplaceAll `e` __line__ `x`",
        "regexReplaceAllLiteral `e` __line__ `x`",
    ] {
        let template = format!("{{{{range 1000}}}}{{{{if ({call}) | not}}}}no{{{{end}}}}{{{{end}}}}ok");
        assert_eq!(render(&template).as_deref(), Ok("ok"), "{template}");
    }
    // One that the template makes is compiled at each call, which counts for much.
    assert!(render("{{range 1000}}{{if count (print `l(i)ne`) __line__}}{{end}}{{end}}ok").is_err());
    assert!(render("{{count `(` __line__}}").expect_err("refused").contains("missing closing )"));
}

#[test]
fn a_template_knows_the_labels_it_reads() {
    let template =
        Template::parse("line", r#"{{.a}} {{if .b}}{{printf "%s" .c}}{{end}} {{index . "d"}} {{$.e}}"#);
    assert_eq!(template.expect("valid").fields(), ["a", "b", "c", "d", "e"]);
}

proptest::proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "[{}|.$a()\"`0-9 :=,-]{0,40}") {
        let _ = render(&text);
    }

    #[test]
    fn any_actions_run_or_are_refused(
        actions in proptest::collection::vec("\\{\\{(else |)(if |with |range |)(\\$[ab](, \\$[ab]|) :?= |)(\\$a|\\$b|\\.|[0-3]|`x`|print \\$a \\$b|printf `%.*g%d%q` 9 \\$a)\\}\\}|\\{\\{(end|else|end|break)\\}\\}|y", 0..12),
    ) {
        let text: String = actions.concat();
        let open = text.matches("{{if").count() + text.matches("{{with").count() + text.matches("{{range").count();
        let _ = render(&text);
        // More often whole.
        let _ = render(&(text + &"{{end}}".repeat(open)));
    }
}
